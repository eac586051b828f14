package signature

import (
	"crypto/hmac"
	"crypto/md5" //nolint:gosec // see signature.go
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"maps"
	"slices"
	"strings"
)

// Joining says how a system joins and hashes sorted parameters: what most Chinese platforms' signatures come down to.
type Joining struct {
	// Hash is md5 or sha256, over a text that has the secret in it, or hmac-md5 or hmac-sha256, with the secret as the key.
	Hash string
	// Equals stands between a name and its value, Between between the pairs.
	Equals, Between string
	// Before and After put the secret at the beginning and at the end of the text.
	Before, After bool
	// SkipEmpty leaves out parameters without a value.
	SkipEmpty bool
	// Upper writes the signature in capitals.
	Upper bool
}

// Validate checks that the joining makes a signature: a known hash, and the secret in it.
func (j Joining) Validate() error {
	switch j.Hash {
	case "md5", "sha256":
		if !j.Before && !j.After {
			return errors.New("without the secret in the text, anybody could make the signature")
		}
	case "hmac-md5", "hmac-sha256":
	default:
		return fmt.Errorf("the hash is %.40q: write md5, sha256, hmac-md5 or hmac-sha256", j.Hash)
	}
	return nil
}

// Sorted signs parameters in the order of their names, but for the one called except, which holds the signature.
func (j Joining) Sorted(secret string, parameters map[string]string, except string) string {
	pairs := make([]string, 0, len(parameters))
	for _, name := range slices.Sorted(maps.Keys(parameters)) {
		if name != except && (parameters[name] != "" || !j.SkipEmpty) {
			pairs = append(pairs, name+j.Equals+parameters[name])
		}
	}
	text := strings.Join(pairs, j.Between)
	if j.Before {
		text = secret + text
	}
	if j.After {
		text += secret
	}
	var h hash.Hash
	switch j.Hash {
	case "md5":
		h = md5.New() //nolint:gosec // what the other side demands
	case "sha256":
		h = sha256.New()
	case "hmac-md5":
		h = hmac.New(md5.New, []byte(secret))
	default:
		h = hmac.New(sha256.New, []byte(secret))
	}
	h.Write([]byte(text))
	signed := hex.EncodeToString(h.Sum(nil))
	if j.Upper {
		return strings.ToUpper(signed)
	}
	return signed
}
