package criu

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sampan-cloud/sampan/internal/base/fault"
)

func TestFind(t *testing.T) {
	for name, tt := range map[string]struct {
		script string // of the program; "" is none
		want   string // in the error, or ""
	}{
		"none":            {"", "there is no program"},
		"too old":         {"echo Version: 3.17.1", `is version "3.17.1", install CRIU 4.`},
		"new enough":      {"echo Version: 4.2.1; echo GitID: v4.2.1", ""},
		"newer":           {"echo Version: 10.0", ""},
		"not CRIU at all": {"echo hello", `is version "", install`},
		"does not run":    {"exit 1", "--version"},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "criu")
			if tt.script != "" {
				if err := os.WriteFile(path, []byte("#!/bin/sh\n"+tt.script+"\n"), 0o755); err != nil {
					t.Fatal(err)
				}
			}
			p, err := Find(t.Context(), path)
			if tt.want == "" {
				if err != nil || p.Path != path {
					t.Errorf("Find = %v, %v", p, err)
				}
				return
			}
			if fault.Of(err) != fault.Precondition || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("Find = %v, want %v and %q", err, fault.Precondition, tt.want)
			}
		})
	}
}

func TestOldest(t *testing.T) {
	for kernel, want := range map[string]string{
		"6.1.0-28-amd64": "4.1", "6.12.9": "4.1", "6.16.0-rc1": "4.2", "6.18.44-fc": "4.2", "7.0": "4.2", "what": "4.1",
	} {
		if got := oldest(kernel); got != want {
			t.Errorf("oldest(%q) = %s, want %s", kernel, got, want)
		}
	}
}

func TestReason(t *testing.T) {
	log := filepath.Join(t.TempDir(), "dump.log")
	for name, tt := range map[string]struct{ log, want string }{
		"nothing": {"(00.1) Dumping\n", ""},
		"the first error, without what is always there": {
			"(00.000001) Error (criu/util.c:1533): rlimit: Can't setup RLIMIT_NOFILE for self: Operation not permitted\n" +
				"(00.000002) Error (criu/files-ext.c:96): Can't dump file 3 of that type [600] (unknown /anon_inode:[io_uring])\n" +
				"(00.000003) Error (criu/cr-dump.c:2111): Dumping FAILED.\n",
			"Can't dump file 3 of that type [600] (unknown /anon_inode:[io_uring])",
		},
		"a restore's tell their process": {
			"(00.050208)      1: Error (criu/files-reg.c:2294): File fd/1 has bad mode 010644 (expect 010600)\n",
			"File fd/1 has bad mode 010644 (expect 010600)",
		},
	} {
		if err := os.WriteFile(log, []byte(tt.log), 0o600); err != nil {
			t.Fatal(err)
		}
		if got := Reason(log); got != tt.want {
			t.Errorf("%s: Reason = %q, want %q", name, got, tt.want)
		}
	}
	if got := Reason(log + "x"); got != "" {
		t.Errorf("of no log: %q", got)
	}
}
