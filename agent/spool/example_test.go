package spool_test

import (
	"context"
	"fmt"

	"github.com/nephoscope/nepho/agent/spool"
)

func Example() {
	ctx := context.Background()
	s, err := spool.Open(spool.Options{Limit: 64 << 20}) // with Dir it would be on disk
	if err != nil {
		panic(err)
	}
	defer s.Close() //nolint:errcheck // in memory

	commit, err := s.Append(ctx, spool.Entry{Payload: []byte("an encoded batch"), Samples: 1000})
	if err != nil {
		panic(err)
	}
	if err := commit.Wait(ctx); err != nil { // now a broker may have its acknowledgement
		panic(err)
	}

	d, err := s.Next(ctx)
	if err != nil {
		panic(err)
	}
	fmt.Printf("publishing %q, %d samples\n", d.Payload, d.Samples)
	if err := s.Ack(d); err != nil { // or s.Rewind() to try again
		panic(err)
	}
	fmt.Println("waiting:", s.Stats().Waiting.Samples)
	// Output:
	// publishing "an encoded batch", 1000 samples
	// waiting: 0
}
