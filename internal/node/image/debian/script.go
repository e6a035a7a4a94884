package debian

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"io"
	"regexp"
	"strconv"
	"strings"
)

// script is what a package does after it was unpacked. It is read, never run:
// only a few commands, written out in it, have a meaning here.
type script string

// postinst reads a package's postinst script; it may have none.
func postinst(ctx context.Context, file string) (script, error) {
	out, err := dpkg(ctx, "--ctrl-tarfile", file)
	if err != nil {
		return "", err
	}
	for r := tar.NewReader(bytes.NewReader(out)); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return "", nil
		}
		if err != nil {
			return "", err
		}
		if clean(h.Name) == "postinst" {
			text, err := io.ReadAll(r)
			return script(text), err
		}
	}
}

var (
	assignment = regexp.MustCompile(`^\s*(\w+)=["']?([^"'\s$]*(?:\$\{?\w+\}?[^"'\s$]*)*)["']?\s*$`)
	variable   = regexp.MustCompile(`\$\{?(\w+)\}?`)
	separator  = regexp.MustCompile(`;|&&|\|\||\|`)
)

// commands returns the simple commands of a shell script as words, with the
// variables that it sets to plain values put in. A command whose words are not
// known before it runs is left out.
func (s script) commands() (all [][]string) {
	vars := make(map[string]string)
	expand := func(text string) string {
		return variable.ReplaceAllStringFunc(text, func(v string) string {
			if value, ok := vars[variable.FindStringSubmatch(v)[1]]; ok {
				return value
			}
			return v
		})
	}
	joined := strings.ReplaceAll(string(s), "\\\n", " ")
	for line := range strings.Lines(joined) {
		if strings.HasPrefix(strings.TrimSpace(line), "#") {
			continue
		}
		if m := assignment.FindStringSubmatch(line); m != nil {
			vars[m[1]] = expand(m[2])
			continue
		}
		for _, part := range separator.Split(line, -1) {
			words := split(expand(part))
			for len(words) > 0 && isKeyword(words[0]) {
				words = words[1:]
			}
			if len(words) > 0 && !strings.Contains(strings.Join(words, ""), "$") {
				all = append(all, words)
			}
		}
	}
	return all
}

func isKeyword(word string) bool {
	switch word {
	case "if", "then", "else", "elif", "do", "!", "{", "(", "while", "exec":
		return true
	}
	return false
}

// split cuts a command into words and takes quotes and redirections away.
func split(text string) (words []string) {
	var word strings.Builder
	var quote rune
	in := false
	for _, r := range text + " " {
		switch {
		case quote != 0 && r == quote:
			quote = 0
		case quote != 0:
			word.WriteRune(r)
		case r == '"' || r == '\'':
			quote, in = r, true
		case r == ' ' || r == '\t' || r == '\n':
			if w := word.String(); in && !strings.ContainsAny(w, "<>") {
				words = append(words, w)
			}
			word.Reset()
			in = false
		default:
			word.WriteRune(r)
			in = true
		}
	}
	return words
}

// alternative does one update-alternatives --install; the highest priority wins.
func alternative(t *tree, words []string) {
	if words[0] != "update-alternatives" {
		return
	}
	for i := 1; i < len(words); i++ {
		switch {
		case words[i] == "--install" && i+4 < len(words):
			prio, err := strconv.Atoi(words[i+4])
			if old := t.find("etc/alternatives/" + words[i+2]); err != nil || old != nil && old.prio >= prio {
				return
			}
			t.choose(words[i+1], words[i+2], words[i+3], prio)
			i += 4
		case words[i] == "--slave" && i+3 < len(words):
			t.choose(words[i+1], words[i+2], words[i+3], 0)
			i += 3
		}
	}
}

// choose makes one alternative: link leads to its name in /etc/alternatives,
// that to the program. One whose program was left out, such as a manual, is none.
func (t *tree) choose(link, name, program string, prio int) {
	if t.find(clean(program)) == nil {
		return
	}
	t.link(clean(link), "/etc/alternatives/"+name)
	t.link("etc/alternatives/"+name, program)
	if n := t.find("etc/alternatives/" + name); n != nil {
		n.prio = prio
	}
}
