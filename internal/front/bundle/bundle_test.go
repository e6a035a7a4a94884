package bundle

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/sampan-cloud/sampan/internal/base/fault"
)

func TestAProgramThatCarriesFilesStillRunsAndGivesThemBack(t *testing.T) {
	dir := t.TempDir()
	echo, err := exec.LookPath("echo")
	if err != nil {
		t.Fatal(err)
	}
	want := bytes.Repeat([]byte("daemon"), 100000)
	daemon := filepath.Join(dir, "daemon")
	if err := os.WriteFile(daemon, want, 0o600); err != nil {
		t.Fatal(err)
	}
	all := filepath.Join(dir, "all")
	if err := Append(all, echo, daemon); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(all, "hello").Output(); err != nil || string(out) != "hello\n" {
		t.Errorf("running the program = %q, %v; want hello", out, err)
	}
	for range 2 { // the second time finds them there
		got, err := Extract(all, filepath.Join(dir, "out"), nil)
		if err != nil {
			t.Fatal(err)
		}
		data, err := os.ReadFile(filepath.Join(got, "daemon"))
		if err != nil || !bytes.Equal(data, want) {
			t.Errorf("extracted %d bytes, %v; want the %d that were carried", len(data), err, len(want))
		}
		if fi, err := os.Stat(filepath.Join(got, "daemon")); err != nil || fi.Mode().Perm() != 0o755 {
			t.Errorf("mode of the extracted file = %v, %v; want 0755", fi.Mode(), err)
		}
	}
}

func TestAProgramThatCarriesNothingSaysSo(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Extract(self, t.TempDir(), nil); !errors.Is(err, fault.Precondition) {
		t.Errorf("Extract = %v, want %v", err, fault.Precondition)
	}
}
