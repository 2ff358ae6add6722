package webhook

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// The headers of a signed request (Standard Webhooks, version 1).
const (
	headerID        = "webhook-id"
	headerTimestamp = "webhook-timestamp"
	headerSignature = "webhook-signature"
)

const keyPrefix = "whsec_"

// The sizes of a signing key in bytes, by the specification.
const (
	minKey = 24
	maxKey = 64
)

// decodeKey reads a signing key as the specification writes it. Its errors quote
// nothing of it.
func decodeKey(s Secret) ([]byte, error) {
	const howTo = `make one with: echo "whsec_$(openssl rand -base64 32)"`
	if s.IsMask() {
		return nil, errors.New("it is the mask of a printed configuration; put the key itself in")
	}
	text, ok := strings.CutPrefix(string(s), keyPrefix)
	if !ok {
		return nil, errors.New("a key begins with whsec_; " + howTo)
	}
	key, err := base64.StdEncoding.DecodeString(text)
	switch {
	case err != nil:
		return nil, errors.New("what follows whsec_ is not base64; " + howTo)
	case len(key) < minKey || len(key) > maxKey:
		return nil, fmt.Errorf("a key has %d to %d bytes, this one has %d; %s", minKey, maxKey, len(key), howTo)
	}
	return key, nil
}

// signer signs requests with every one of its keys.
type signer [][]byte

func newSigner(keys []Secret) (signer, error) {
	var s signer
	for _, k := range keys {
		key, err := decodeKey(k)
		if err != nil {
			return nil, err
		}
		s = append(s, key)
	}
	return s, nil
}

// sign is the headers' values for a body that is sent now. The id has no full
// stop, which separates the parts of what is signed.
func (s signer) sign(id string, now time.Time, body []byte) (timestamp, signature string) {
	timestamp = strconv.FormatInt(now.Unix(), 10)
	all := make([]string, len(s))
	for i, key := range s {
		mac := hmac.New(sha256.New, key)
		mac.Write([]byte(id + "." + timestamp + "."))
		mac.Write(body)
		all[i] = "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil))
	}
	return timestamp, strings.Join(all, " ")
}
