package cli

import "strings"

// wrap breaks a text between words into lines of so many columns. A word that is
// longer is broken, and no columns break nothing.
func wrap(s string, columns int) []string {
	if s == "" {
		return nil
	}
	if columns <= 0 {
		return []string{s}
	}
	var lines []string
	for width(s) > columns {
		end, space, n := 0, 0, 0
		for i, r := range s {
			if n += width(string(r)); n > columns && i > 0 {
				end = i
				break
			}
			if r == ' ' {
				space = i
			}
		}
		switch {
		case end == 0: // one character that is too wide
			return append(lines, s)
		case s[end] == ' ':
		case space > 0:
			end = space
		}
		lines = append(lines, strings.TrimRight(s[:end], " "))
		s = strings.TrimLeft(s[end:], " ")
	}
	return append(lines, s)
}

// clip cuts a line to so many columns, and leaves its colours whole.
func clip(s string, columns int) string {
	n, escape := 0, false
	for i, r := range s {
		switch {
		case r == '\x1b':
			escape = true
		case escape:
			escape = r != 'm'
		default:
			if n += width(string(r)); n > columns {
				return s[:i] + "\x1b[m"
			}
		}
	}
	return s
}
