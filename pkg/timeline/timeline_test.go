package timeline

import (
	"bytes"
	"errors"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"
)

var start = time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)

func at(ms int) time.Time { return start.Add(time.Duration(ms) * time.Millisecond) }

func TestWrittenIsRead(t *testing.T) {
	var b bytes.Buffer
	log := New(&b)
	events := []Event{
		{At: at(20), Kind: Operation, Subject: "write", Value: "vault-1", OK: true, LatencyMS: 6.25},
		{At: at(10), Kind: Operation, Subject: "read", Detail: "connection \"refused\"\nby peer"},
		{At: at(30), Kind: Fault, Subject: "RES-01#1", Value: "injected", Detail: "pod-delete of vault-0"},
	}
	for _, e := range events {
		log.Append(e)
	}
	if err := log.Close(); err != nil {
		t.Fatal(err)
	}
	got, err := Read(&b)
	if err != nil {
		t.Fatal(err)
	}
	if want := []Event{events[1], events[0], events[2]}; !reflect.DeepEqual(got, want) {
		t.Errorf("read %v, want %v", got, want)
	}
	if !reflect.DeepEqual(log.Events(), got) {
		t.Errorf("the log has %v, the stream %v", log.Events(), got)
	}
}

func TestEventsIsACopy(t *testing.T) {
	log := New(nil)
	log.Append(Event{At: at(1), Subject: "a"})
	log.Events()[0].Subject = "b"
	if got := log.Events()[0].Subject; got != "a" {
		t.Errorf("a reader changed the log to %q", got)
	}
}

func TestBetween(t *testing.T) {
	log := New(nil)
	for _, ms := range []int{30, 10, 20, 40} {
		log.Append(Event{At: at(ms)})
	}
	got := log.Between(at(20), at(40))
	if len(got) != 2 || !got[0].At.Equal(at(20)) || !got[1].At.Equal(at(30)) {
		t.Errorf("between 20 and 40: %v", got)
	}
}

func TestSameInstantKeepsOrder(t *testing.T) {
	log := New(nil)
	for _, s := range []string{"a", "b", "c"} {
		log.Append(Event{At: at(5), Subject: s})
	}
	if e := log.Events(); e[0].Subject+e[1].Subject+e[2].Subject != "abc" {
		t.Errorf("order %v", e)
	}
}

func TestLastLineCutShort(t *testing.T) {
	whole := `{"at":"2026-11-23T09:00:00Z","kind":"seal","subject":"vault-0","value":"sealed"}` + "\n"
	got, err := Read(strings.NewReader(whole + whole[:40]))
	if err != nil || len(got) != 1 {
		t.Errorf("read %v (%v), want the whole line alone", got, err)
	}
	if _, err := Read(strings.NewReader(whole + whole[:40] + "\n" + whole)); err == nil || !strings.Contains(err.Error(), "line 2") {
		t.Errorf("a broken line in the middle gave %v, want an error that names line 2", err)
	}
	if got, err := Read(strings.NewReader(strings.TrimSuffix(whole, "\n"))); err != nil || len(got) != 1 {
		t.Errorf("a last line without newline: %v (%v)", got, err)
	}
}

type fullDisk struct{ closed bool }

func (*fullDisk) Write([]byte) (int, error) { return 0, errors.New("no space left on device") }
func (d *fullDisk) Close() error            { d.closed = true; return nil }

func TestFullDiskKeepsEventsAndIsTold(t *testing.T) {
	disk := &fullDisk{}
	log := New(disk)
	log.Append(Event{At: at(1)})
	log.Append(Event{At: at(2)})
	if got := len(log.Events()); got != 2 {
		t.Errorf("%d events in memory, want 2", got)
	}
	if err := log.Close(); err == nil || !strings.Contains(err.Error(), "no space left") || !disk.closed {
		t.Errorf("close gave %v (closed %v), want the reason", err, disk.closed)
	}
	if err := log.Close(); err != nil {
		t.Errorf("the second close gave %v", err)
	}
	log.Append(Event{At: at(3)})
	if got := len(log.Events()); got != 2 {
		t.Errorf("an event after the close was recorded")
	}
}

func TestManyWriters(t *testing.T) {
	var b bytes.Buffer
	log := New(&b)
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 200 {
				log.Append(Event{Kind: Operation, Subject: "read"})
			}
		})
	}
	all.Wait()
	got, err := Read(&b)
	if err != nil || len(got) != 1600 {
		t.Fatalf("read %d events (%v), want 1600", len(got), err)
	}
	for _, e := range got {
		if e.At.IsZero() {
			t.Fatal("an event has no time")
		}
	}
}
