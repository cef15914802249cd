package objects

import (
	"context"
	"log/slog"
	"time"
)

// S3Options say where a bucket is.
type S3Options struct {
	Endpoint   string // URL: https://s3.example.org or http://127.0.0.1:9000
	Region     string // "us-east-1" when empty
	Bucket     string // must be there
	Prefix     string // of the names of all objects; a slash is added when it has none
	AccessKey  string
	SecretKey  string
	CAFile     string        // PEM certificates that are trusted besides the system's
	Addressing string        // of the bucket: "path", "host", or "" for what suits the endpoint
	Timeout    time.Duration // without progress of one request; 0 means 30 s
	Patience   time.Duration // for one call with all its attempts; 0 means 2 min
	Log        *slog.Logger  // is told when the store does not answer and when it does again
}

// S3 is the store in a bucket. It asks the server whether the options are right and whether it
// honours conditional writes, without which two processes could overwrite each other's work.
func S3(ctx context.Context, o S3Options) (Store, error) { return nil, errNotYet }
