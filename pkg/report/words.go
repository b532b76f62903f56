package report

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// measured turns a measurement into words: outage_ms 2310 is "outage" and
// "2.31 s".
func measured(name string, v float64) fact {
	say := func(unit string) string { return strings.ReplaceAll(strings.TrimSuffix(name, unit), "_", " ") }
	switch {
	case strings.HasSuffix(name, "_ms"):
		return fact{say("_ms"), span(v)}
	case strings.HasSuffix(name, "_seconds"):
		return fact{say("_seconds"), span(v * 1000)}
	case strings.HasSuffix(name, "_percent"):
		return fact{say("_percent"), number(v) + " %"}
	case strings.HasSuffix(name, "_bytes"):
		return fact{say("_bytes"), bytesOf(v)}
	case strings.HasSuffix(name, "_total"):
		return fact{say("_total"), number(v)}
	default:
		return fact{say(""), number(v)}
	}
}

// number writes v with at most three decimals and spaces between thousands.
func number(v float64) string {
	if v == math.Trunc(v) && math.Abs(v) < 1e15 {
		return group(int(v))
	}
	return strconv.FormatFloat(math.Round(v*1000)/1000, 'f', -1, 64)
}

// group writes n with thin spaces between thousands: 29 213.
func group(n int) string {
	if n < 0 {
		return "−" + group(-n)
	}
	s := strconv.Itoa(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "\u202f" + s[i:]
	}
	return s
}

func bytesOf(v float64) string {
	for _, unit := range []string{"B", "KiB", "MiB"} {
		if v < 1024 {
			return strconv.FormatFloat(math.Round(v*10)/10, 'f', -1, 64) + " " + unit
		}
		v /= 1024
	}
	return fmt.Sprintf("%.1f GiB", v)
}

// percent never rounds up to 100 %: one failure in a million shows.
func percent(part, whole int) string {
	if whole == 0 {
		return "–"
	}
	if part == whole {
		return "100 %"
	}
	return fmt.Sprintf("%.2f %%", math.Floor(float64(part)/float64(whole)*10_000)/100)
}
