package message

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
)

const signatureKey = "message_signature"

// Sign computes the signature that Ceilometer gives a dictionary of a message,
// whose key message_signature is not part of it. With an empty secret it is
// empty. Numbers are json.Number, int64 or float64.
func Sign(dict map[string]any, secret string) string {
	if secret == "" {
		return ""
	}
	text, _ := appendSignable(nil, "", dict, 0)
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write(text)
	return hex.EncodeToString(mac.Sum(nil))
}

// appendSignable appends what is signed of an object: names and values without
// anything between them, sorted by name, the names of nested objects' keys with
// those of the objects around them. A limit above 0 bounds the length of to.
func appendSignable(to []byte, path string, dict map[string]any, limit int) ([]byte, error) {
	for _, k := range sortedKeys(dict) {
		v := dict[k]
		if path == "" && k == signatureKey {
			continue
		}
		if inner, ok := object(v); ok {
			if len(inner) == 0 {
				continue
			}
			name := k
			if path != "" {
				name = path + ":" + k
			}
			var err error
			if to, err = appendSignable(to, name, inner, limit); err != nil {
				return to, err
			}
			continue
		}
		if path != "" {
			to = append(append(to, path...), ':')
		}
		to = append(to, k...)
		to = appendStr(to, v)
		if limit > 0 && len(to) > limit {
			return to, fmt.Errorf("%w: more than %d bytes to be signed", ErrForm, limit)
		}
	}
	return to, nil
}

// verifier checks signatures against several secrets, so that one can be
// replaced while messages signed with the old one still wait in queues.
type verifier struct {
	macs []hash.Hash
	text []byte
	left int // how many more bytes of text may be checked
}

func newVerifier(secrets []string) *verifier {
	v := &verifier{left: maxSigned}
	for _, s := range secrets {
		v.macs = append(v.macs, hmac.New(sha256.New, []byte(s)))
	}
	return v
}

// dict checks a dictionary of Ceilometer's.
func (v *verifier) dict(dict map[string]any) error {
	if len(v.macs) == 0 {
		return nil
	}
	given, _ := dict[signatureKey].(string)
	if given == "" {
		return fmt.Errorf("%w: there is none", ErrSignature)
	}
	if v.left <= 0 {
		return fmt.Errorf("%w: more than %d bytes to be signed", ErrForm, maxSigned)
	}
	var err error
	if v.text, err = appendSignable(v.text[:0], "", dict, v.left); err != nil {
		return err
	}
	v.left -= len(v.text)
	return v.check(given, v.text)
}

// check compares in constant time, with every secret.
func (v *verifier) check(given string, text ...[]byte) error {
	sum, err := hex.DecodeString(given)
	if err != nil || len(sum) != sha256.Size {
		return fmt.Errorf("%w: %.80q is none", ErrSignature, given)
	}
	good := false
	for _, mac := range v.macs {
		mac.Reset()
		for _, t := range text {
			mac.Write(t)
		}
		good = hmac.Equal(mac.Sum(nil), sum) || good
	}
	if !good {
		return fmt.Errorf("%w: it fits no secret", ErrSignature)
	}
	return nil
}
