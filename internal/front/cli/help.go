package cli

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/sampan-cloud/sampan/internal/base/fault"
)

// translate puts the words that cobra and pflag themselves print into the user's
// language.
func (a *app) translate(c *cobra.Command) {
	c.SetUsageTemplate(a.text.get("usage.template"))
	c.CompletionOptions.DisableDefaultCmd = true // ours speaks the user's language
	c.InitDefaultHelpCmd()
	for _, sub := range c.Commands() {
		if sub.Name() == "help" {
			sub.Short = a.text.get("help.short")
		}
	}
	a.translateFlags(c)
}

// translateFlags does so for the flags of a command and of those below it.
func (a *app) translateFlags(c *cobra.Command) {
	c.DisableFlagsInUseLine = true // the template has the word for them
	if !c.DisableFlagParsing {
		c.Flags().BoolP("help", "h", false, a.text.get("help.flag"))
	}
	c.Flags().VisitAll(a.sayDefault)
	c.PersistentFlags().VisitAll(a.sayDefault)
	for _, sub := range c.Commands() {
		a.translateFlags(sub)
	}
}

// sayDefault has a flag's help say what it is without the flag, where pflag
// would add that in English.
func (a *app) sayDefault(f *pflag.Flag) {
	unsaid := map[string]string{"bool": "false", "int": "0", "duration": "0s", "string": "", "stringArray": "[]", "stringSlice": "[]"}
	if zero, known := unsaid[f.Value.Type()]; known && f.DefValue != zero {
		f.Usage += a.text.get("flag.default", f.DefValue)
		f.DefValue = zero
	}
}

// answerUnknown has each command that only holds others show its help, and say
// so when it does not have the one that is asked for: a script must not take a
// misspelt word for a success.
func (a *app) answerUnknown(c *cobra.Command) {
	for _, sub := range c.Commands() {
		a.answerUnknown(sub)
	}
	if !c.HasSubCommands() || c.Runnable() {
		return
	}
	c.Args, c.SuggestionsMinimumDistance = cobra.ArbitraryArgs, 2
	c.RunE = func(c *cobra.Command, args []string) error {
		if len(args) == 0 {
			return c.Help()
		}
		unknown := a.text.get("unknown.command", args[0], c.CommandPath())
		if near := c.SuggestionsFor(args[0]); len(near) > 0 {
			unknown += " (" + a.text.get("unknown.near", strings.Join(near, ", ")) + ")"
		} else {
			unknown += " (" + a.text.get("see.help", c.CommandPath()) + ")"
		}
		return fmt.Errorf("%s: %w", unknown, fault.Invalid)
	}
}

// flagError says what is wrong with a flag in the user's language.
func (a *app) flagError(c *cobra.Command, err error) error {
	var unknown *pflag.NotExistError
	var bare *pflag.ValueRequiredError
	var bad *pflag.InvalidValueError
	said := err.Error()
	switch {
	case errors.As(err, &unknown):
		said = a.text.get("flag.unknown", dashed(unknown.GetSpecifiedName()))
	case errors.As(err, &bare):
		said = a.text.get("flag.bare", dashed(bare.GetSpecifiedName()))
	case errors.As(err, &bad):
		said = a.text.get("flag.bad", dashed(bad.GetFlag().Name), bad.GetValue(), bad.GetFlag().Value.Type())
	}
	return fmt.Errorf("%s (%s): %w", said, a.text.get("see.help", c.CommandPath()), fault.Invalid)
}

// dashed is a flag as it is typed.
func dashed(name string) string {
	if len(name) == 1 {
		return "-" + name
	}
	return "--" + name
}
