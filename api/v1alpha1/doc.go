// Package v1alpha1 is the resource that users of a cloud write: the App, in the
// group apps.sampan.dev.
//
// An App says what should run, under which address, in how many copies and how
// its next version is shipped. Everything it needs in the cluster is made of
// ordinary objects that it owns.
//
// +kubebuilder:object:generate=true
// +groupName=apps.sampan.dev
package v1alpha1

//go:generate go run sigs.k8s.io/controller-tools/cmd/controller-gen@v0.21.0 object paths=.
//go:generate go run sigs.k8s.io/controller-tools/cmd/controller-gen@v0.21.0 crd:maxDescLen=400 paths=. output:crd:dir=crd
