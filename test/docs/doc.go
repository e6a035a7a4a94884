// Package docs checks that the guide says the same in both languages and that
// its links lead somewhere.
package docs
