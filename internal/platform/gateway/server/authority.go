package server

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sampan-cloud/sampan/internal/platform/gateway/cert"
)

// authoritySecret holds the pair of the authority that vouches for local names,
// the same on every node.
const authoritySecret = "gateway-ca"

// keepAuthority gets the authority, makes it when there is none, and looks from
// time to time whether somebody has put another in its place.
func (s *Server) keepAuthority(ctx context.Context, ready func()) error {
	version, wait := "", time.Second
	for {
		secret, err := s.authority(ctx)
		switch {
		case err != nil && ctx.Err() == nil:
			s.log.Warn("no authority for local certificates yet", "err", err)
			wait = min(2*wait, 30*time.Second)
		case err == nil && secret.ResourceVersion != version || version == "" && err == nil:
			a, err := cert.OpenAuthority(secret.Data[corev1.TLSCertKey], secret.Data[corev1.TLSPrivateKeyKey])
			if err != nil {
				s.log.Error("authority cannot be used", "secret", s.cfg.Namespace+"/"+authoritySecret, "err", err)
			} else {
				s.certs.SetAuthority(a)
				version = secret.ResourceVersion
				ready()
			}
			wait = 10 * time.Minute
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(wait):
		}
	}
}

// authority reads the Secret, or makes it. Two gateways that make it at once
// agree on the one that was first.
func (s *Server) authority(ctx context.Context) (*corev1.Secret, error) {
	secrets := s.clients.Kube.CoreV1().Secrets(s.cfg.Namespace)
	found, err := secrets.Get(ctx, authoritySecret, metav1.GetOptions{})
	if err == nil || !apierrors.IsNotFound(err) {
		return found, err
	}
	certPEM, keyPEM, err := cert.NewAuthority("Sampan local names", time.Now())
	if err != nil {
		return nil, err
	}
	made, err := secrets.Create(ctx, &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: authoritySecret, Namespace: s.cfg.Namespace},
		Type:       corev1.SecretTypeTLS,
		Data:       map[string][]byte{corev1.TLSCertKey: certPEM, corev1.TLSPrivateKeyKey: keyPEM},
	}, metav1.CreateOptions{})
	if apierrors.IsAlreadyExists(err) {
		return secrets.Get(ctx, authoritySecret, metav1.GetOptions{})
	}
	if err != nil {
		return nil, fmt.Errorf("keep the authority: %w", err)
	}
	return made, nil
}
