package message

import (
	"errors"
	"strings"
	"testing"
)

// TestSign checks signatures that Ceilometer 19 made with the secret "secret".
func TestSign(t *testing.T) {
	f := func(message, input, want string) {
		t.Helper()
		v, err := parseJSON([]byte(message))
		if err != nil {
			t.Fatal(err)
		}
		dict := v.(map[string]any)
		if got, err := appendSignable(nil, "", dict, 0); err != nil || string(got) != input {
			t.Errorf("signed text of %s: got %q, %v, want %q", message, got, err, input)
		}
		if got := Sign(dict, "secret"); got != want {
			t.Errorf("signature of %s: got %s, want %s", message, got, want)
		}
		if got := Sign(dict, ""); got != "" {
			t.Errorf("signature without a secret: got %q, want none", got)
		}
		dict[signatureKey] = want
		if err := newVerifier([]string{"other", "secret"}).dict(dict); err != nil {
			t.Errorf("%s was refused: %v", message, err)
		}
		if err := newVerifier([]string{"other"}).dict(dict); !errors.Is(err, ErrSignature) {
			t.Errorf("with another secret: got %v, want ErrSignature", err)
		}
	}
	f(`{"a":"x","b":1,"c":null,"d":true,"e":1.5,"message_signature":"zzz"}`,
		`axb1cNonedTruee1.5`, "a94e4711493abd167eae656696bfa3f196ba0052110785b8567006d075aa3696")
	f(`{"counter_name":"cpu","counter_volume":1e16,"resource_metadata":{"z":"é","a":{"k":0.00001,"e":{}}},"message_id":"m"}`,
		`counter_namecpucounter_volume1e+16message_idmresource_metadata:a:k1e-05resource_metadata:zé`,
		"05f60827405347da3ed640681c7c49a9081d310e44f5fa568f52408beed8ace1")
	f(`{"traits":[["service",1,"nova"],["n",2,5]],"raw":{},"l":[{"b":1,"a":"t"},null,true,1.0]}`,
		`l[{b'a': b't', b'b': 1}, None, True, 1.0]traits[[b'service', 1, b'nova'], [b'n', 2, 5]]`,
		"46cf31243fe952bf51db1751cb9be45b571a5ac549a875719bb79684b13002fd")
}

func TestVerifierRefuses(t *testing.T) {
	f := func(name string, signature any, want error) {
		t.Helper()
		dict := map[string]any{"a": "x"}
		if signature != nil {
			dict[signatureKey] = signature
		}
		if err := newVerifier([]string{"secret"}).dict(dict); !errors.Is(err, want) {
			t.Errorf("%s: got %v, want %v", name, err, want)
		}
	}
	good := Sign(map[string]any{"a": "x"}, "secret")
	f("good", good, nil)
	f("none", nil, ErrSignature)
	f("empty", "", ErrSignature)
	f("no text", true, ErrSignature)
	f("no hexadecimal", strings.Repeat("x", 64), ErrSignature)
	f("cut", good[:62], ErrSignature)
	f("of another", Sign(map[string]any{"a": "y"}, "secret"), ErrSignature)

	// Names of nested keys repeat: 1 MB of JSON asks for more than 1 GB of text.
	inner := map[string]any{}
	for i := range 20_000 {
		inner[strings.Repeat("k", 10)+string(rune(i))] = true
	}
	huge := map[string]any{strings.Repeat("x", 100_000): inner, signatureKey: good}
	if err := newVerifier([]string{"secret"}).dict(huge); !errors.Is(err, ErrForm) {
		t.Errorf("amplifying names: got %v, want ErrForm", err)
	}
}
