package registry

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"fmt"
	"net/http"

	"github.com/sampan-cloud/sampan/internal/base/fault"
)

// Action is what somebody wants to do with a repository.
type Action string

// The actions. Login is asked without a repository, List with none for the
// catalog of all.
const (
	Login  Action = "login"
	Pull   Action = "pull"
	Push   Action = "push"
	Delete Action = "delete"
	List   Action = "list"
)

// Credentials are what a client sent; both are empty when it sent nothing.
type Credentials struct{ Username, Password string }

// Access decides who may do what. A nil error allows it; fault.Unauthorized
// asks the client for credentials, or for better ones; fault.Forbidden refuses.
// It is asked for every request and from many goroutines.
type Access interface {
	Check(ctx context.Context, who Credentials, action Action, repo string) error
}

// Admin allows everything to one user, and to others, when Anonymous is set, to
// pull without credentials.
type Admin struct {
	Credentials
	Anonymous bool
}

// Check implements Access.
func (a Admin) Check(_ context.Context, who Credentials, action Action, _ string) error {
	if who == (Credentials{}) {
		// Login is refused even so: it is how clients find out that they may
		// send credentials. Those that have none go on without.
		if a.Anonymous && action == Pull {
			return nil
		}
		return fmt.Errorf("%s needs a user name and password: %w", action, fault.Unauthorized)
	}
	if a.Password == "" || !same(who.Username, a.Username) || !same(who.Password, a.Password) {
		return fmt.Errorf("wrong user name or password: %w", fault.Unauthorized)
	}
	return nil
}

// same compares without telling by its time how much of it is the same.
func same(a, b string) bool {
	x, y := sha256.Sum256([]byte(a)), sha256.Sum256([]byte(b))
	return subtle.ConstantTimeCompare(x[:], y[:]) == 1
}

// allow asks Access about a request.
func (r *Registry) allow(req *http.Request, t target) error {
	action := Pull
	switch {
	case t.kind == "catalog":
		action = List
	case t.kind == "":
		action = Login
	case t.kind == "uploads":
		action = Push
	case req.Method == http.MethodDelete:
		action = Delete
	case req.Method != http.MethodGet && req.Method != http.MethodHead:
		action = Push
	}
	return r.check(req, action, t.repo)
}

func (r *Registry) check(req *http.Request, action Action, repo string) error {
	var who Credentials
	who.Username, who.Password, _ = req.BasicAuth()
	if err := r.access.Check(req.Context(), who, action, repo); err != nil {
		if repo == "" {
			return err
		}
		return fmt.Errorf("repository %s: %w", repo, err)
	}
	return nil
}
