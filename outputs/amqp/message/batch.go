package message

import (
	"bytes"
	"compress/gzip"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/nephoscope/nepho/sdk"
)

const gzipEncoding = "gzip"

// EncodeBatch makes a message of Nepho's own form of an encoded batch. It is
// compressed if compress says so and signed unless the secret is empty.
//
// The signature is a hexadecimal HMAC-SHA256 over the lines "nepho-batch-1", the
// timestamp header and the content encoding, each with its line feed, and the
// body as it is sent.
func EncodeBatch(body []byte, secret string, compress bool) Message {
	m := Message{ContentType: BatchType, Body: body}
	if compress {
		var to bytes.Buffer
		// Telemetry that is worth a better ratio is worth more than it saves.
		z, _ := gzip.NewWriterLevel(&to, gzip.BestSpeed) // fails for unknown levels only
		z.Write(body)                                    // a Buffer takes all
		z.Close()
		m.Body, m.ContentEncoding = to.Bytes(), gzipEncoding
	}
	if secret != "" {
		stamp := time.Now().UTC().Format(time.RFC3339Nano)
		mac := hmac.New(sha256.New, []byte(secret))
		mac.Write(batchPreamble(stamp, m.ContentEncoding))
		mac.Write(m.Body)
		m.Headers = map[string]any{TimestampHeader: stamp, SignatureHeader: hex.EncodeToString(mac.Sum(nil))}
	}
	return m
}

func batchPreamble(stamp, encoding string) []byte {
	return []byte("nepho-batch-1\n" + stamp + "\n" + encoding + "\n")
}

func decodeBatch(m Message, v *verifier) (*Content, error) {
	if len(v.macs) > 0 {
		given, _ := m.Headers[SignatureHeader].(string)
		stamp, _ := m.Headers[TimestampHeader].(string)
		if given == "" {
			return nil, fmt.Errorf("%w: there is none", ErrSignature)
		}
		if err := v.check(given, batchPreamble(stamp, m.ContentEncoding), m.Body); err != nil {
			return nil, err
		}
	}
	body, err := plain(m, sdk.MaxBatchBytes)
	if err != nil {
		return nil, err
	}
	b, err := sdk.DecodeBatch(body)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrForm, err)
	}
	return &Content{Batch: b}, nil
}

// plain gives the body without its compression.
func plain(m Message, limit int) ([]byte, error) {
	switch strings.ToLower(m.ContentEncoding) {
	case "", "utf-8", "utf8", "binary", "identity":
		return m.Body, nil
	case gzipEncoding:
	default:
		return nil, fmt.Errorf("%w: unknown content encoding %.40q", ErrForm, m.ContentEncoding)
	}
	z, err := gzip.NewReader(bytes.NewReader(m.Body))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrForm, err)
	}
	body, err := io.ReadAll(io.LimitReader(z, int64(limit)+1))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrForm, err)
	}
	if len(body) > limit {
		return nil, fmt.Errorf("%w: more than %d bytes after decompression", ErrForm, limit)
	}
	return body, nil
}
