package object

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
)

// Digester tells secret contents apart without telling what they are: who does
// not have its key cannot try passwords against a digest.
type Digester []byte

// Of is the digest of some content.
func (d Digester) Of(content ...any) string {
	raw, err := json.Marshal(content) // maps are written in the order of their keys
	if err != nil {
		panic(err) // strings and bytes
	}
	h := hmac.New(sha256.New, d)
	h.Write(raw)
	return hex.EncodeToString(h.Sum(nil)[:8])
}
