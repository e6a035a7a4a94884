package cli

import (
	"regexp"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

func TestAMisspeltWordIsNoSuccess(t *testing.T) {
	for args, want := range map[string]string{
		"ap":                     "unknown command \"ap\" of `sampan` (nearest: app",
		"frobnicate":             "unknown command \"frobnicate\" of `sampan` (`sampan --help` shows how it is used): invalid",
		"app lst":                "unknown command \"lst\" of `sampan app` (nearest: list)",
		"app config sett web":    "unknown command \"sett\" of `sampan app config`",
		"ps --al":                "unknown flag: --al (`sampan ps --help` shows how it is used): invalid",
		"ps -x":                  "unknown flag: -x",
		"logs web --tail":        "flag needs an argument: --tail",
		"logs web --tail many":   "--tail: \"many\" is no int",
		"run i --replicas many":  "--replicas: \"many\" is no int",
		"completion tcsh":        "tcsh is none of bash, zsh and fish",
		"completion":             "usage: sampan completion bash|zsh|fish",
		"scale web 1 2 --help=x": "--help: \"x\" is no bool",
	} {
		code, out, errOut := typed(t, town(), "en", "", strings.Fields(args)...)
		if code == 0 || out != "" || !strings.Contains(errOut, want) {
			t.Errorf("%s: exit code %d, %q %q, want %q", args, code, out, errOut, want)
		}
	}
}

func TestACommandThatHoldsOthersShowsThem(t *testing.T) {
	code, out, errOut := typed(t, town(), "zh", "", "app", "config")
	if code != 0 || !strings.Contains(out, "rollback") || strings.Contains(out, "Usage") {
		t.Errorf("exit code %d, %q %q; want the help in Chinese", code, out, errOut)
	}
}

func TestHelpIsInOneLanguage(t *testing.T) {
	english := regexp.MustCompile(`default |help for|\[flags\]|[Ff]lags:|Usage|[Cc]ommands:|Examples`)
	a := &app{Env: Env{Getenv: func(string) string { return "" }}, text: load("zh")}
	var look func(c *cobra.Command)
	look = func(c *cobra.Command) {
		if said := english.FindString(c.UsageString()); said != "" {
			t.Errorf("the Chinese help of %s says %q", c.CommandPath(), said)
		}
		for _, sub := range c.Commands() {
			look(sub)
		}
	}
	look(a.root())
}

func TestHelpSaysWhatIsSoWithoutAFlag(t *testing.T) {
	for lang, want := range map[string]string{"en": "(default bridge)\n", "zh": "（默认 bridge）\n"} {
		if _, out, _ := typed(t, town(), lang, "", "run", "--help"); strings.Count(out, want) != 1 {
			t.Errorf("%s: %s\nwant %q once", lang, out, want)
		}
	}
}

func TestNamesAreCompleted(t *testing.T) {
	api := town()
	api.objects[shop] = object{"items": []object{{"metadata": object{"name": "web"}}, {"metadata": object{"name": "cart"}}}}
	api.objects["/apis/apps/v1/namespaces/shop/deployments"] = object{"items": []object{
		{"metadata": object{"name": "front"}},
		{"metadata": object{"name": "web-r3", "ownerReferences": []object{{"kind": "App", "name": "web", "controller": true}}}},
	}}
	for args, want := range map[string]string{
		"app show ":         "web cart",
		"app show w":        "web",
		"app show web ":     "",
		"scale ":            "web cart front",
		"stop web ":         "cart front",
		"app config set c":  "cart",
		"completion ":       "bash zsh fish",
		"app config rollb":  "rollback",
		"service register ": "",
	} {
		words := strings.Split(args, " ")
		_, out, errOut := typed(t, api, "en", "", append([]string{"__complete"}, words...)...)
		var got []string
		for line := range strings.Lines(out) {
			if name, _, _ := strings.Cut(strings.TrimSpace(line), "\t"); !strings.HasPrefix(name, ":") {
				got = append(got, name)
			}
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%q: %q (%s), want %q", args, got, errOut, want)
		}
	}
}

func TestEveryShellHasItsScript(t *testing.T) {
	for shell, want := range map[string]string{"bash": "complete -o default -F __start_sampan sampan", "zsh": "#compdef sampan", "fish": "complete -c sampan"} {
		code, out, errOut := typed(t, town(), "en", "", "completion", shell)
		if code != 0 || !strings.Contains(out, want) {
			t.Errorf("%s: exit code %d %s, want a script with %q", shell, code, errOut, want)
		}
	}
}
