// Package file is the publisher that writes JSON lines to a file, a pipe or the
// host's standard output.
package file

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"os"
	"strconv"
	"time"

	"github.com/nephoscope/nepho/sdk"
	"github.com/nephoscope/nepho/sdk/config"
)

//go:embed sample.toml
var sample string

// Plugin describes the publisher.
func Plugin() sdk.Plugin {
	return sdk.Plugin{
		Name:      "file",
		Summary:   "Writes samples and events as JSON lines to a file or to standard output",
		Sample:    sample,
		Publisher: func() sdk.Publisher { return &publisher{} },
	}
}

type publisher struct {
	Path       string        `toml:"path" required:"true" doc:"The file; - is the host's standard output."`
	Format     string        `toml:"format" default:"json" enum:"json|text" doc:"JSON lines, or text for people to read, which is for standard output, pipes and terminals only."`
	RotateSize config.Size   `toml:"rotate_size" default:"0" doc:"Begin a new file when the present one would grow beyond this; 0 is never."`
	RotateAge  time.Duration `toml:"rotate_age" default:"0s" doc:"Begin a new file when the present one is older; 0 is never."`
	RotateKeep int           `toml:"rotate_keep" default:"5" min:"0" doc:"How many rotated files to keep; 0 is all."`
	Compress   bool          `toml:"compress" default:"false" doc:"Compress rotated files with gzip."`
	Sync       string        `toml:"sync" default:"batch" enum:"batch|none" doc:"Whether what is published survives a crash of the machine (batch), or one of Nepho only (none)."`
	Mode       string        `toml:"mode" default:"0640" doc:"Permissions of new files, in octal."`

	mode    os.FileMode
	regular *regular // one of the two, by what path is
	stream  *stream
	keeper  *keeper
	text    []byte
}

// Validate reads the permissions.
func (p *publisher) Validate() error {
	mode, err := strconv.ParseUint(p.Mode, 8, 32)
	if err != nil || mode > 0o777 {
		return config.KeyError("mode", "expected permissions in octal such as %q, not %q", "0640", p.Mode)
	}
	p.mode = os.FileMode(mode)
	return nil
}

// Start opens the file and repairs its end.
func (p *publisher) Start(_ context.Context, env sdk.Env) error {
	if p.Path == "-" {
		f, err := sdk.HostStdout()
		if err != nil {
			return err
		}
		p.stream = &stream{f: f}
		return nil
	}
	if info, err := os.Stat(p.Path); err == nil && !info.Mode().IsRegular() {
		p.stream = &stream{path: p.Path}
		return nil
	}
	if p.Format == "text" {
		return fmt.Errorf("%q is a file, and text is for standard output, pipes and terminals: set format = \"json\"", p.Path)
	}
	p.regular = &regular{path: p.Path, mode: p.mode, sync: p.Sync == "batch", log: env.Log}
	if err := p.regular.open(); err != nil {
		return err
	}
	p.keeper = startKeeper(p.Path, p.RotateKeep, p.Compress, env.Log)
	return nil
}

// maxKept bounds the buffer that is used again: one huge batch must not cost
// memory for ever.
const maxKept = 4 << 20

// Publish writes the batch as a whole or not at all, except to a pipe.
func (p *publisher) Publish(ctx context.Context, batch *sdk.Batch) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if p.stream != nil {
		if p.Format == "text" {
			return p.stream.write(ctx, appendText(nil, batch))
		}
		return p.stream.write(ctx, appendBatch(nil, batch))
	}
	p.text = appendBatch(p.text[:0], batch)
	err := p.append(p.text)
	if cap(p.text) > maxKept {
		p.text = nil
	}
	return err
}

func (p *publisher) append(text []byte) error {
	size, born, err := p.regular.ready()
	if err != nil {
		return err
	}
	tooLarge := p.RotateSize > 0 && size+int64(len(text)) > int64(p.RotateSize)
	tooOld := p.RotateAge > 0 && time.Since(born) >= p.RotateAge
	if size > 0 && (tooLarge || tooOld) {
		if err := p.regular.rotate(); err != nil {
			return err
		}
		p.keeper.wake()
	}
	return p.regular.append(text)
}

// Stop closes the file.
func (p *publisher) Stop(context.Context) error {
	var errs []error
	if p.keeper != nil {
		p.keeper.stop()
	}
	if p.regular != nil {
		errs = append(errs, p.regular.close())
	}
	if p.stream != nil {
		errs = append(errs, p.stream.close())
	}
	return errors.Join(errs...)
}

// appendBatch appends a line for each sample and then for each event.
func appendBatch(to []byte, batch *sdk.Batch) []byte {
	for _, s := range batch.Samples() {
		to = append(s.AppendJSON(to), '\n')
	}
	for e := range batch.Events() {
		to = append(batch.Event(e).AppendJSON(to), '\n')
	}
	return to
}
