// Package metrics is upstream's metrics-server with the descriptions of its objects as the Kubernetes of this binary has
// them. Its own are of an older Kubernetes, in which they had other names: "cannot find model definition for
// io.k8s.metrics.pkg.apis.metrics.v1beta1.NodeMetrics".
package metrics

import (
	"errors"

	"github.com/spf13/cobra"
	openapinamer "k8s.io/apiserver/pkg/endpoints/openapi"
	genericapiserver "k8s.io/apiserver/pkg/server"
	generatedopenapi "k8s.io/kubernetes/pkg/generated/openapi"
	"sigs.k8s.io/metrics-server/cmd/metrics-server/app/options"
	"sigs.k8s.io/metrics-server/pkg/api"
)

// NewCommand has upstream's flags and does what upstream's command does (cmd/metrics-server/app/start.go).
func NewCommand() *cobra.Command {
	given := options.NewOptions()
	command := &cobra.Command{
		Use:          "metrics-server",
		Short:        "Serves the group metrics.k8s.io",
		Args:         cobra.NoArgs,
		SilenceUsage: true,
		RunE:         func(*cobra.Command, []string) error { return run(given) },
	}
	named := given.Flags()
	for _, set := range named.FlagSets {
		command.Flags().AddFlagSet(set)
	}
	return command
}

func run(given *options.Options) error {
	if err := errors.Join(given.Validate()...); err != nil {
		return err
	}
	config, err := given.ServerConfig()
	if err != nil {
		return err
	}
	describe(config.Apiserver)
	server, err := config.Complete()
	if err != nil {
		return err
	}
	return server.RunUntil(genericapiserver.SetupSignalHandler())
}

// describe replaces the descriptions, and leaves what is said of the server.
func describe(config *genericapiserver.Config) {
	namer := openapinamer.NewDefinitionNamer(api.Scheme)
	version2 := genericapiserver.DefaultOpenAPIConfig(generatedopenapi.GetOpenAPIDefinitions, namer)
	version3 := genericapiserver.DefaultOpenAPIV3Config(generatedopenapi.GetOpenAPIDefinitions, namer)
	version2.Info, version3.Info = config.OpenAPIConfig.Info, config.OpenAPIV3Config.Info
	config.OpenAPIConfig, config.OpenAPIV3Config = version2, version3
}
