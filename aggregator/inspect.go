package aggregator

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"github.com/nephoscope/nepho/aggregator/block"
	"github.com/nephoscope/nepho/aggregator/engine"
	"github.com/nephoscope/nepho/aggregator/objects"
	"github.com/nephoscope/nepho/sdk/config"
)

// Inspect writes what is in a block file for people to read; with numbers of metrics
// only of these, but more.
func Inspect(w io.Writer, file string, metrics ...uint64) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	return block.Inspect(w, f, info.Size(), metrics...)
}

// Verify reads all that is stored and tells what of it is damaged. where is a folder,
// or the URL of a bucket; if it is empty, what an instance with the given options
// stores is meant.
func Verify(ctx context.Context, w io.Writer, where string, options *config.Table) (sound bool, err error) {
	at, err := storeAt(ctx, where, options)
	if err != nil {
		return false, err
	}
	v, err := engine.Verify(ctx, at.objects, at.folder, func(object string, err error) { fmt.Fprintf(w, "%s: %v\n", object, err) })
	if err != nil {
		return false, err
	}
	switch {
	case v.LogAway && at.local:
		v.Damage++
		fmt.Fprintf(w, "%s: the log is missing\n", at.folder)
	case v.LogAway, at.folder == "":
		fmt.Fprintln(w, "The log is not here; of what it has, its copy in the bucket was read.")
	}
	if v.Torn > 0 {
		fmt.Fprintf(w, "The log ends with %d bytes of a record that is half written, which was not acknowledged.\n", v.Torn)
	}
	fmt.Fprintf(w, "%s: %d block files with %d windows, the points of %d metrics that are in no block yet, %d records of the log, %d bytes in all; damaged: %d\n",
		at.objects, v.Blocks, v.Windows, v.Waiting, v.Records, v.Bytes, v.Damage)
	return v.Damage == 0, nil
}

// place is where a store is.
type place struct {
	objects objects.Store
	local   bool   // they are files, of one node
	folder  string // the engine's, if it is known
}

func storeAt(ctx context.Context, where string, options *config.Table) (at place, err error) {
	switch {
	case where == "":
		s := &store{}
		if problems := options.Decode(s); len(problems) > 0 {
			return at, config.Join(problems)
		}
		if s.S3 == nil {
			return localAt(s.Path)
		}
		if s.Path != "" {
			at.folder = filepath.Join(s.Path, engineFolder)
		}
		at.objects, err = s.openObjects(ctx)
		return at, err
	case strings.HasPrefix(where, "http://") || strings.HasPrefix(where, "https://"):
		bucket, err := bucketAt(where)
		if err != nil {
			return at, err
		}
		at.objects, err = objects.S3(ctx, bucket)
		return at, err
	}
	return localAt(where)
}

// localAt is the store in a folder that is an aggregator's path. Nothing is made there.
func localAt(path string) (at place, err error) {
	dir := filepath.Join(path, objectFolder)
	if info, err := os.Stat(dir); err != nil || !info.IsDir() {
		return at, fmt.Errorf("%s is no folder of an aggregator: there is no %s in it", path, objectFolder)
	}
	at.objects, err = objects.Local(dir)
	at.local, at.folder = true, filepath.Join(path, engineFolder)
	return at, err
}

// bucketAt reads https://HOST/BUCKET/PREFIX; the keys are where other programs have
// them.
func bucketAt(address string) (objects.S3Options, error) {
	u, err := url.Parse(address)
	if err != nil {
		return objects.S3Options{}, errors.New("it is no URL such as https://s3.example.com/BUCKET/PREFIX")
	}
	bucket, prefix, _ := strings.Cut(strings.Trim(u.Path, "/"), "/")
	if u.Host == "" || bucket == "" {
		return objects.S3Options{}, errors.New("it is no URL such as https://s3.example.com/BUCKET/PREFIX")
	}
	return objects.S3Options{
		Endpoint: u.Scheme + "://" + u.Host, Bucket: bucket, Prefix: prefix, Region: os.Getenv("AWS_REGION"),
		AccessKey: os.Getenv("AWS_ACCESS_KEY_ID"), SecretKey: os.Getenv("AWS_SECRET_ACCESS_KEY"), CAFile: os.Getenv("AWS_CA_BUNDLE"), Addressing: "path",
	}, nil
}
