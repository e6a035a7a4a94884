package e2e

import (
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/sampan-cloud/sampan/test/need"
)

// usersManifest is a pod whose root is nobody on the machine. What the kubelet
// mounts into it must belong to its own users all the same.
const usersManifest = `
apiVersion: v1
kind: Pod
metadata: {name: users}
spec:
  hostUsers: false
  containers:
  - name: users
    image: ` + image + `
    volumeMounts: [{name: scratch, mountPath: /scratch}, {name: ca, mountPath: /ca}]
  volumes:
  - {name: scratch, emptyDir: {}}
  - {name: ca, configMap: {name: kube-root-ca.crt}}
`

func TestAPodWithUsersOfItsOwn(t *testing.T) {
	need.Kernel(t, 6, 15) // earlier ones cannot map the layers of an overlay
	h := shared(t)
	if err := h.write("users.yaml", usersManifest, 0o644); err != nil {
		t.Fatal(err)
	}
	h.must(t, "kubectl", "apply", "-f", filepath.Join(h.dir, "users.yaml"))
	t.Cleanup(func() { h.must(t, "kubectl", "delete", "pod", "users", "--wait") })
	h.must(t, "kubectl", "wait", "--for=condition=Ready", "pod/users", "--timeout=60s")

	inside := func(args ...string) string {
		return strings.TrimSpace(h.must(t, append([]string{"kubectl", "exec", "users", "--", "/bin/toolbox"}, args...)...))
	}
	if got := inside("cat", "/proc/self/uid_map"); !regexp.MustCompile(`^0 +[1-9]\d{4,} +65536$`).MatchString(got) {
		t.Errorf("root of the pod is %q on the machine, want an unprivileged range of 65536", got)
	}
	inside("write", "/scratch/file", "mine")
	for _, path := range []string{"/bin/toolbox", "/scratch/file", "/ca/ca.crt"} {
		if got := inside("stat", path); !strings.HasSuffix(got, " 0 0") {
			t.Errorf("%s inside is %q, want it to belong to 0 0", path, got)
		}
	}
}
