// Command manifests checks the Kubernetes manifests and the compose file against what
// those programs take: strictly, so that a field that there is not is an error. It needs
// neither a cluster nor Docker. It is a module of its own, for what it imports takes
// longer to build than CI has time for: run it with "just manifests".
package main

import (
	"bytes"
	"context"
	"fmt"
	"os"

	"github.com/compose-spec/compose-go/v2/cli"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
)

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: manifests KUBERNETES.yaml COMPOSE.yaml")
		os.Exit(2)
	}
	failed := false
	for _, err := range append(kubernetes(os.Args[1]), compose(os.Args[2])) {
		if err != nil {
			failed = true
			fmt.Fprintln(os.Stderr, err)
		}
	}
	if failed {
		os.Exit(1)
	}
}

// kubernetes checks each document of a file.
func kubernetes(path string) (errs []error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return []error{err}
	}
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{corev1.AddToScheme, appsv1.AddToScheme, policyv1.AddToScheme} {
		if err := add(scheme); err != nil {
			return []error{err}
		}
	}
	decoder := serializer.NewCodecFactory(scheme, serializer.EnableStrict).UniversalDeserializer()
	for i, doc := range bytes.Split(data, []byte("\n---\n")) {
		if _, kind, err := decoder.Decode(doc, nil, nil); err != nil {
			errs = append(errs, fmt.Errorf("%s, document %d (%v): %w", path, i+1, kind, err))
		} else {
			fmt.Printf("%s, document %d: %s %s\n", path, i+1, kind.GroupVersion(), kind.Kind)
		}
	}
	return errs
}

// compose checks a compose file against the schema that Docker has.
func compose(path string) error {
	options, err := cli.NewProjectOptions([]string{path}, cli.WithEnv([]string{"GATEBUS_SECRET=of the check of the manifests"}))
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	project, err := options.LoadProject(context.Background())
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	fmt.Printf("%s: %d services\n", path, len(project.Services))
	return nil
}
