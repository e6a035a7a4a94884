// Package kubectl is the upstream kubectl, ready to talk to this machine's
// cluster.
package kubectl

import (
	"context"
	"io"
	"os"

	"k8s.io/cli-runtime/pkg/genericclioptions"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"k8s.io/component-base/cli"
	"k8s.io/kubectl/pkg/cmd"
	"k8s.io/kubectl/pkg/cmd/plugin"
	cmdutil "k8s.io/kubectl/pkg/cmd/util"
)

// exit carries an exit code up from where kubectl would end the process.
type exit int

// Run runs kubectl with args, which do not include its name, and returns its
// exit code. It uses the kubeconfig given here unless the user names another one
// by flag or by KUBECONFIG. It is for a process that does nothing else: kubectl
// keeps its way of ending in a package variable and reads the environment.
func Run(ctx context.Context, kubeconfig string, args []string, in io.Reader, out, errOut io.Writer) (code int) {
	cmdutil.BehaviorOnFatal(func(msg string, code int) {
		if len(msg) > 0 {
			if msg[len(msg)-1] != '\n' {
				msg += "\n"
			}
			io.WriteString(errOut, msg)
		}
		panic(exit(code))
	})
	defer func() {
		if p := recover(); p != nil {
			c, ok := p.(exit)
			if !ok {
				panic(p)
			}
			code = int(c)
		}
	}()
	// Not as the flag's default: `kubectl config` does not look there.
	if os.Getenv("KUBECONFIG") == "" {
		os.Setenv("KUBECONFIG", kubeconfig)
	}
	streams := genericiooptions.IOStreams{In: in, Out: out, ErrOut: errOut}
	flags := genericclioptions.NewConfigFlags(true).WithDeprecatedPasswordFlag().
		WithDiscoveryBurst(300).WithDiscoveryQPS(50).WithWarningPrinter(streams)
	command := cmd.NewDefaultKubectlCommandWithArgs(cmd.KubectlOptions{
		PluginHandler: cmd.NewDefaultPluginHandler(plugin.ValidPluginFilenamePrefixes),
		Arguments:     append([]string{"kubectl"}, args...),
		ConfigFlags:   flags,
		IOStreams:     streams,
	})
	command.SetArgs(args)
	command.SetIn(in)
	command.SetOut(out)
	command.SetErr(errOut)
	command.SetContext(ctx)
	if err := cli.RunNoErrOutput(command); err != nil {
		cmdutil.CheckErr(err)
	}
	return 0
}
