package config

import (
	"errors"
	"math"
	"strconv"
	"strings"
	"time"
)

// Size is a number of bytes. In a configuration it is written "64MiB", "10MB",
// "1GiB", "512k" (as KiB), or as a plain integer.
type Size int64

var errSize = errors.New(`expected a size such as "64MiB"`)

// sizeUnits lists the larger units first, so that String finds the largest.
// It is a function because the package keeps no variables that could change.
func sizeUnits() []struct {
	name  string
	bytes int64
} {
	return []struct {
		name  string
		bytes int64
	}{
		{"TiB", 1 << 40}, {"TB", 1e12}, {"T", 1 << 40},
		{"GiB", 1 << 30}, {"GB", 1e9}, {"G", 1 << 30},
		{"MiB", 1 << 20}, {"MB", 1e6}, {"M", 1 << 20},
		{"KiB", 1 << 10}, {"kB", 1e3}, {"K", 1 << 10},
		{"B", 1},
	}
}

// ParseSize reads a size. Units may be written in any case.
func ParseSize(s string) (Size, error) {
	number, unit := strings.TrimSpace(s), int64(1)
	for _, u := range sizeUnits() {
		n := len(number) - len(u.name)
		if n > 0 && strings.EqualFold(number[n:], u.name) {
			number, unit = strings.TrimSpace(number[:n]), u.bytes
			break
		}
	}
	if i, err := strconv.ParseInt(number, 10, 64); err == nil {
		if i > math.MaxInt64/unit || i < math.MinInt64/unit {
			return 0, errors.New("too large")
		}
		return Size(i * unit), nil
	}
	if strings.Trim(number, "0123456789.") != "" {
		return 0, errSize
	}
	f, err := strconv.ParseFloat(number, 64)
	if err != nil {
		return 0, errSize
	}
	if f *= float64(unit); f >= math.MaxInt64 {
		return 0, errors.New("too large")
	}
	return Size(f), nil
}

// String returns the size in the largest binary unit that holds it exactly.
func (s Size) String() string {
	for _, u := range sizeUnits() {
		if strings.HasSuffix(u.name, "iB") && s != 0 && int64(s)%u.bytes == 0 {
			return strconv.FormatInt(int64(s)/u.bytes, 10) + u.name
		}
	}
	return strconv.FormatInt(int64(s), 10) + "B"
}

var errDuration = errors.New(`expected a duration such as "10s"`)

// ParseDuration reads a duration as [time.ParseDuration] does, and besides weeks
// and days before the rest, as in "7d" or "1d12h".
func ParseDuration(s string) (time.Duration, error) {
	rest, sum := s, time.Duration(0)
	for _, unit := range []struct {
		name   string
		length time.Duration
	}{{"w", 7 * 24 * time.Hour}, {"d", 24 * time.Hour}} {
		number, after, found := strings.Cut(rest, unit.name)
		if !found {
			continue
		}
		n, err := strconv.ParseUint(number, 10, 31)
		if err != nil {
			return 0, errDuration
		}
		if time.Duration(n) > (math.MaxInt64-sum)/unit.length {
			return 0, errors.New("too long")
		}
		sum += time.Duration(n) * unit.length
		rest = after
	}
	if rest == "" && rest != s {
		return sum, nil
	}
	d, err := time.ParseDuration(rest)
	if err != nil || d < 0 && rest != s {
		return 0, errDuration
	}
	if d > math.MaxInt64-sum {
		return 0, errors.New("too long")
	}
	return sum + d, nil
}

// FormatDuration writes a duration without the zero units that
// [time.Duration.String] has: "1m", not "1m0s".
func FormatDuration(d time.Duration) string {
	s := d.String()
	if d%time.Minute == 0 && d != 0 {
		s = strings.TrimSuffix(s, "0s")
	}
	if d%time.Hour == 0 && d != 0 {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// MarshalText writes the size so that ParseSize reads it back.
func (s Size) MarshalText() ([]byte, error) { return []byte(s.String()), nil }
