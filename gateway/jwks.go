package gateway

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"os"
	"time"
)

const (
	// maxKeys bounds a set of keys, in bytes.
	maxKeys = 256 << 10
	// minHMAC is the least of an HMAC key, in bytes (RFC 7518 3.2).
	minHMAC = 32
	// minRSA is the least of an RSA key, in bits (RFC 7518 3.3).
	minRSA = 2048
	// fetchTimeout is how long a set of keys may take to come.
	fetchTimeout = 10 * time.Second
)

// key verifies tokens of one algorithm.
type key struct {
	id  string // "" for any
	alg string
	// one of []byte, *rsa.PublicKey, *ecdsa.PublicKey, as alg wants it
	key any
}

// parseHMAC reads the file of an HMAC key: the bytes of it, without a line break at its
// end.
func parseHMAC(data []byte) ([]key, error) {
	for len(data) > 0 && (data[len(data)-1] == '\n' || data[len(data)-1] == '\r') {
		data = data[:len(data)-1]
	}
	if len(data) < minHMAC {
		return nil, fmt.Errorf("a key of %d bytes can be guessed; it has %d or more, make one with: openssl rand -hex 32", len(data), minHMAC)
	}
	return []key{{alg: "HS256", key: data}}, nil
}

// parseJWKS reads a JSON Web Key Set (RFC 7517). Keys that are for something else than
// to verify signatures, or of another kind than is known here, are left out; one of a
// known kind that is no good is an error, and so is a set without any.
func parseJWKS(data []byte) ([]key, error) {
	var set struct {
		Keys []struct {
			Kty, Use, Alg, Kid, Crv string
			N, E, X, Y, K           string
		}
	}
	if err := json.Unmarshal(data, &set); err != nil {
		return nil, fmt.Errorf("not a JSON Web Key Set: %w", err)
	}
	var keys []key
	for i, k := range set.Keys {
		if k.Use != "" && k.Use != "sig" {
			continue
		}
		one := key{id: k.Kid}
		var err error
		switch {
		case k.Kty == "oct":
			one.alg = "HS256"
			one.key, err = symmetric(k.K)
		case k.Kty == "RSA":
			one.alg = "RS256"
			one.key, err = rsaKey(k.N, k.E)
		case k.Kty == "EC" && k.Crv == "P-256":
			one.alg = "ES256"
			one.key, err = ecKey(k.X, k.Y)
		}
		if err != nil {
			return nil, fmt.Errorf("keys[%d]: %w", i, err)
		}
		if one.alg != "" && (k.Alg == "" || k.Alg == one.alg) {
			keys = append(keys, one)
		}
	}
	if len(keys) == 0 {
		return nil, errors.New("there is no key for HS256, RS256 or ES256 in it")
	}
	return keys, nil
}

func symmetric(s string) ([]byte, error) {
	k, err := base64.RawURLEncoding.DecodeString(s)
	if err == nil && len(k) < minHMAC {
		err = fmt.Errorf("a key of %d bytes can be guessed; it has %d or more", len(k), minHMAC)
	}
	return k, err
}

func rsaKey(n, e string) (*rsa.PublicKey, error) {
	modulus, err := base64.RawURLEncoding.DecodeString(n)
	if err != nil {
		return nil, err
	}
	exponent, err := base64.RawURLEncoding.DecodeString(e)
	if err != nil {
		return nil, err
	}
	k, x := &rsa.PublicKey{N: new(big.Int).SetBytes(modulus)}, new(big.Int).SetBytes(exponent)
	switch {
	case k.N.BitLen() < minRSA || k.N.BitLen() > 8*minRSA:
		return nil, fmt.Errorf("an RSA key of %d bits; from %d to %d", k.N.BitLen(), minRSA, 8*minRSA)
	case x.BitLen() > 31 || x.Bit(0) == 0 || x.Int64() < 3:
		return nil, errors.New("the exponent of an RSA key is out of range")
	}
	k.E = int(x.Int64())
	return k, nil
}

func ecKey(x, y string) (*ecdsa.PublicKey, error) {
	point := []byte{4} // uncompressed
	for _, s := range []string{x, y} {
		b, err := base64.RawURLEncoding.DecodeString(s)
		if err != nil {
			return nil, err
		}
		if len(b) != 32 {
			return nil, errors.New("a coordinate of P-256 has 32 bytes")
		}
		point = append(point, b...)
	}
	return ecdsa.ParseUncompressedPublicKey(elliptic.P256(), point)
}

// CheckKeys tells whether the content of a file of jwt.keys is good: with hmac, of
// hmac_file, else of file.
func CheckKeys(data []byte, hmac bool) error {
	var err error
	if hmac {
		_, err = parseHMAC(data)
	} else {
		_, err = parseJWKS(data)
	}
	return err
}

// readKeys reads the files of the keys.
func (k *JWTKeys) readKeys() (all []key, err error) {
	for _, f := range []struct {
		path  string
		parse func([]byte) ([]key, error)
	}{{k.HMACFile, parseHMAC}, {k.File, parseJWKS}} {
		if f.path == "" {
			continue
		}
		data, err := os.ReadFile(f.path)
		if err != nil {
			return nil, err
		}
		keys, err := f.parse(data)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", f.path, err)
		}
		all = append(all, keys...)
	}
	return all, nil
}

// fetchKeys gets the keys from their URL.
func (k *JWTKeys) fetchKeys(ctx context.Context) ([]key, error) {
	ctx, cancel := context.WithTimeout(ctx, fetchTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, k.URL, nil)
	if err != nil {
		return nil, err
	}
	client := http.Client{
		Transport: &http.Transport{Proxy: http.ProxyFromEnvironment, DisableKeepAlives: true},
		// Another address is as good as this one only if it is as safe.
		CheckRedirect: func(req *http.Request, via []*http.Request) error {
			if len(via) > 3 {
				return errors.New("too many redirects")
			}
			return checkKeysURL(req.URL.String())
		},
	}
	resp, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s answers %s", k.URL, resp.Status)
	}
	data, err := io.ReadAll(io.LimitReader(resp.Body, maxKeys+1))
	if err != nil {
		return nil, err
	}
	if len(data) > maxKeys {
		return nil, fmt.Errorf("%s: more than %d bytes", k.URL, maxKeys)
	}
	keys, err := parseJWKS(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", k.URL, err)
	}
	return keys, nil
}
