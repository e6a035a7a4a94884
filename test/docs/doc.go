// Package docs checks what the documents say of themselves and of the code: that
// both languages of the guide agree, that links lead somewhere, that decisions
// have numbers of their own, and that what a promise is held by exists.
package docs
