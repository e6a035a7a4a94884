package cli

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const (
	ownPath      = "/api/v1/namespaces/shop/secrets/web-config"
	versionsPath = "/apis/apps/v1/namespaces/shop/controllerrevisions"
)

// configVersion is a version of web's configuration. A value that begins with -
// is a secret's digest, a key with / in it a file.
func configVersion(n int, by, cause string, values ...string) object {
	list := []object{}
	all := ""
	for _, v := range values {
		key, value, _ := strings.Cut(v, "=")
		one := object{"key": key, "text": value, "whole": true, "digest": fmt.Sprintf("%x", value), "size": len(value)}
		if strings.Contains(key, "/") {
			one["key"], one["path"] = strings.ReplaceAll(key, "/", "."), key
		}
		if digest, secret := strings.CutPrefix(value, "-"); secret {
			delete(one, "text")
			delete(one, "whole")
			one["secret"], one["digest"] = true, digest
		}
		list = append(list, one)
		all += v
	}
	source := object{"kind": "Secret", "name": "web-config", "own": true, "copy": "web-config-x", "digest": all, "resourceVersion": "7", "values": list}
	return object{
		"metadata": object{"name": "web-config-v", "labels": object{"apps.sampan.dev/config-version": "1"}, "creationTimestamp": ago(time.Duration(10-n) * time.Hour)},
		"data":     object{"number": n, "by": by, "cause": cause, "sources": []object{source}},
	}
}

// configured is an API with an app, three versions of its configuration and a
// revision with the second.
func configured() *fakeAPI {
	app := canary()
	app["status"].(object)["config"], app["status"].(object)["liveConfig"] = 3, 2
	r := keptRevision(3, "web:3", "", "")
	r["data"].(object)["version"] = 2
	return &fakeAPI{
		objects: map[string]any{
			shop + "/web": app,
			ownPath: object{
				"metadata": object{"name": "web-config", "resourceVersion": "6", "labels": object{"apps.sampan.dev/config": "web"}, "annotations": object{
					"apps.sampan.dev/config-keys": `{"MODE":{"plain":true},"file.etc.web.conf":{"path":"/etc/web.conf","plain":true}}`, "apps.sampan.dev/changed-by": "bob"}},
				"data": object{"MODE": []byte("fast"), "PW": []byte("old"), "file.etc.web.conf": []byte("a\nb\n")},
			},
			versionsPath: object{"items": []object{
				configVersion(1, "alice", "", "MODE=slow", "LIMIT=10"),
				configVersion(3, "bob", "the sale", "MODE=fast", "PW=-ffeeddccbbaa9988", "/etc/web.conf=a\nc\n"),
				configVersion(2, "alice, bob", "", "MODE=slow", "PW=-0123456789abcdef", "/etc/web.conf=a\nb\n"), r,
			}},
		},
		watches: map[string][]any{versionsPath: {configVersion(4, "carol", "")}},
		answer: func(_ string, body object) (any, int, bool) {
			return object{"metadata": object{"name": "web-config", "resourceVersion": "7"}}, 200, true
		},
	}
}

func TestWhatConfigurationLooksLike(t *testing.T) {
	for _, lang := range []string{"en", "zh"} {
		for name, args := range map[string]string{
			"config-show": "app config show web", "config-show-v1": "app config show web --version 1",
			"config-history": "app config history web", "config-diff": "app config diff web", "config-diff-v1": "app config diff web v1 v3",
		} {
			code, out, errOut := typed(t, configured(), lang, "", strings.Fields(args)...)
			if code != 0 {
				t.Errorf("%s: exit code %d: %s", args, code, errOut)
			}
			golden(t, name+"."+lang+".txt", out+errOut)
		}
	}
}

func TestOneValueIsPrintedAsItIs(t *testing.T) {
	_, out, _ := typed(t, configured(), "en", "", "app", "config", "show", "web", "/etc/web.conf")
	if out != "a\nc\n" {
		t.Errorf("the file is %q", out)
	}
	code, out, errOut := typed(t, configured(), "en", "", "app", "config", "show", "web", "PW")
	if code == 0 || out != "" || !strings.Contains(errOut, "PW is secret") {
		t.Errorf("a secret: exit code %d, %q, %q", code, out, errOut)
	}
}

func TestWhatIsSetIsOneChange(t *testing.T) {
	dir := t.TempDir()
	local := filepath.Join(dir, "local")
	if err := os.WriteFile(local, []byte("# settings\nexport A=1\n\nB=\"two words\"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(local+"2", []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	const keys = `"MODE":{"plain":true},"file.etc.web.conf":{"path":"/etc/web.conf","plain":true}`
	for name, tt := range map[string]struct{ args, in, data, keys string }{
		"a variable":                    {"set web LIMIT=5 MODE=x", "", `{"LIMIT":"NQ==","MODE":"eA=="}`, `{"LIMIT":{"plain":true},` + keys + `}`},
		"a secret from the input":       {"set web --secret PW", "new\n", `{"PW":"bmV3"}`, `{` + keys[:len(`"MODE":{"plain":true}`)] + `,"PW":{},` + keys[len(`"MODE":{"plain":true},`):] + `}`},
		"a file where it was":           {"set web --file /etc/web.conf=-", "c\n", `{"file.etc.web.conf":"Ywo="}`, `{` + keys + `}`},
		"files of like names":           {"set web --file /a+b=" + local + "2 --file /a_b=" + local + "2", "", `{"file.a_b":"eA==","file.a_b_":"eA=="}`, `{"MODE":{"plain":true},"file.a_b":{"path":"/a+b","plain":true},"file.a_b_":{"path":"/a_b","plain":true},` + keys[len(`"MODE":{"plain":true},`):] + `}`},
		"lines of a file":               {"set web --env-file " + local, "", `{"A":"MQ==","B":"dHdvIHdvcmRz"}`, `{"A":{"plain":true},"B":{"plain":true},` + keys + `}`},
		"a variable and a file removed": {"unset web MODE /etc/web.conf", "", `{"MODE":null,"file.etc.web.conf":null}`, `{}`},
	} {
		t.Run(name, func(t *testing.T) {
			api := configured()
			code, out, errOut := typed(t, api, "en", tt.in, strings.Fields("app config "+tt.args+" --wait=false --cause why")...)
			if code != 0 || out != "web: v4\n" {
				t.Fatalf("exit code %d, %q %s", code, out, errOut)
			}
			if len(api.patches) != 1 || api.patches[0].path != ownPath {
				t.Fatalf("%d changes, want one of %s: %v", len(api.patches), ownPath, api.patches)
			}
			body := api.patches[0].body
			meta := body["metadata"].(object)
			data, err := json.Marshal(body["data"])
			if err != nil || string(data) != tt.data {
				t.Errorf("data = %s, want %s", data, tt.data)
			}
			said := meta["annotations"].(object)
			if said["apps.sampan.dev/config-keys"] != tt.keys || meta["resourceVersion"] != "6" || !strings.HasPrefix(said["kubernetes.io/change-cause"].(string), "why #") {
				t.Errorf("metadata = %v, want keys %s, the version that was read and the cause", meta, tt.keys)
			}
		})
	}
}

func TestWhatCannotBeSet(t *testing.T) {
	big := filepath.Join(t.TempDir(), "big")
	if err := os.WriteFile(big, make([]byte, largest), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct{ args, want string }{
		"an unknown app":               {"set shoe A=b", `no app "shoe"`},
		"nothing":                      {"set web", "say what to set"},
		"a name that begins with 1":    {"set web 1A=b", `"1A" is no name for a variable`},
		"no value":                     {"set web A", "A has no value"},
		"a secret seen by all":         {"set web --secret A=b", "would stay in the shell's history"},
		"one name twice":               {"set web A=1 A=2", "A is set twice"},
		"the input twice":              {"set web --secret A B", "for one value only"},
		"a path that is not absolute":  {"set web --file etc/x=" + big, "is not PATH=LOCAL"},
		"too much":                     {"set web --file /x=" + big, "1.0 MB is what fits"},
		"bytes in a variable":          {"set web --secret A=@" + big, "is no text"},
		"what is not there":            {"unset web MODE NO", "has no NO"},
		"the key of a file":            {"set web file.etc.web.conf=1", "is where the file /etc/web.conf is kept"},
		"a version that is not there":  {"rollback web v9", "there are v1 v2 v3"},
		"a word that is no version":    {"rollback web newest", "there are v1 v2 v3"},
		"two environments":             {"set web A=1 --env a -n b", "give one"},
		"a copy from here":             {"copy web --from shop", "another environment than shop"},
		"a comparison of versions too": {"diff web v1 --with prod", "leave the versions away"},
	} {
		t.Run(name, func(t *testing.T) {
			api := configured()
			code, _, errOut := typed(t, api, "en", "x", strings.Fields("app config "+tt.args)...)
			if code == 0 || !strings.Contains(errOut, tt.want) || len(api.patches) > 0 {
				t.Errorf("exit code %d, %d changes, %q; want %q and none", code, len(api.patches), errOut, tt.want)
			}
		})
	}
}

func TestAChangeInTheSameMomentIsNotLost(t *testing.T) {
	for name, tt := range map[string]struct {
		other   string // whose value another changes meanwhile
		code    int
		patches int
		want    string
	}{
		"another value is kept":                  {"PW", 0, 2, ""},
		"the same value is not overwritten":      {"MODE", 1, 1, "MODE was changed by bob in this moment"},
		"one that was not there is not replaced": {"LIMIT", 1, 1, "LIMIT was changed by bob in this moment"},
	} {
		t.Run(name, func(t *testing.T) {
			api := configured()
			api.answer = func(path string, body object) (any, int, bool) {
				own := api.objects[ownPath].(object)
				if meta := own["metadata"].(object); meta["resourceVersion"] == "6" {
					meta["resourceVersion"] = "7"
					own["data"].(object)[tt.other] = []byte("theirs")
					return object{"message": "the object has been modified", "reason": "Conflict"}, 409, true
				}
				return object{"metadata": object{"name": "web-config", "resourceVersion": "7"}}, 200, true
			}
			code, _, errOut := typed(t, api, "en", "", "app", "config", "set", "web", "MODE=mine", "LIMIT=1", "--wait=false")
			if code != tt.code || len(api.patches) != tt.patches || !strings.Contains(errOut, tt.want) {
				t.Errorf("exit code %d, %d changes, %q; want %d, %d, %q", code, len(api.patches), errOut, tt.code, tt.patches, tt.want)
			}
		})
	}
}

func TestARollbackWritesWhatTheCopyHolds(t *testing.T) {
	api := configured()
	api.objects["/api/v1/namespaces/shop/secrets/web-config-x"] = object{"data": object{"MODE": []byte("slow"), "LIMIT": []byte("10")}}
	code, out, errOut := typed(t, api, "en", "", "app", "config", "rollback", "web", "v1", "--wait=false")
	if code != 0 || out != "web: v4\n" {
		t.Fatalf("exit code %d, %q %s", code, out, errOut)
	}
	data, err := json.Marshal(api.patches[0].body["data"])
	if want := `{"LIMIT":"MTA=","MODE":"c2xvdw==","PW":null,"file.etc.web.conf":null}`; err != nil || string(data) != want {
		t.Errorf("data = %s, want %s", data, want)
	}
}

func TestARollbackOverwritesNothingThatNobodyHasSeen(t *testing.T) {
	api := configured()
	api.objects["/api/v1/namespaces/shop/secrets/web-config-x"] = object{"data": object{"MODE": []byte("slow")}}
	api.objects[ownPath].(object)["metadata"].(object)["annotations"].(object)["apps.sampan.dev/changes"] = `{"count":4,"by":["bob"]}`
	code, _, errOut := typed(t, api, "en", "", "app", "config", "rollback", "web", "v1", "--wait=false")
	if code == 0 || len(api.patches) > 0 || !strings.Contains(errOut, "was changed in this moment") {
		t.Errorf("exit code %d, %d changes, %q; want that it was changed, and no change", code, len(api.patches), errOut)
	}
}

func TestLineDiff(t *testing.T) {
	for name, tt := range map[string]struct{ before, after, want string }{
		"a line in the middle":  {"a b c", "a x c", "-b +x"},
		"lines added":           {"a", "a b c", "+b +c"},
		"lines taken away":      {"a b c", "c", "-a -b"},
		"what both have stays":  {"a b c d e", "x b d y", "-a +x -c -e +y"},
		"nothing":               {"a b", "a b", ""},
		"all of it, both sides": {"a", "b", "-a +b"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := strings.Join(lineDiff(strings.Fields(tt.before), strings.Fields(tt.after)), " "); got != tt.want {
				t.Errorf("lineDiff = %q, want %q", got, tt.want)
			}
		})
	}
}
