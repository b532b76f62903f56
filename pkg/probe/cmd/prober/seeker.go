package main

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"time"
)

const (
	protocolTCP = 6
	// maxFlows bounds the memory: beyond it, a text that two packets share is missed.
	maxFlows = 4096
	// printEvery is how often counts are printed while packets keep coming.
	printEvery = time.Second
)

// flow is one direction of a connection.
type flow struct{ from, to netip.AddrPort }

// seeker looks for texts in the TCP payload of one pod.
type seeker struct {
	pod     netip.Addr
	texts   map[string][]byte
	longest int
	tails   map[flow][]byte // the end of what passed, in which a text may begin
	seen    captured
	printed time.Time
}

func newSeeker(pod netip.Addr, name string, texts map[string][]byte) *seeker {
	s := &seeker{pod: pod, texts: texts, tails: map[flow][]byte{}, printed: time.Now(),
		seen: captured{Interface: name, Found: map[string]int{}}}
	for name, text := range texts {
		s.seen.Found[name] = 0
		s.longest = max(s.longest, len(text))
	}
	return s
}

// due tells, now and then, that the counts should be printed although packets keep coming.
func (s *seeker) due() bool {
	if time.Since(s.printed) < printEvery {
		return false
	}
	s.printed = time.Now()
	return true
}

// packet takes an IP packet as it is on the wire.
func (s *seeker) packet(raw []byte) {
	way, payload, ok := tcpOf(raw)
	if !ok || way.from.Addr() != s.pod && way.to.Addr() != s.pod {
		return
	}
	s.seen.Packets++
	s.seen.Bytes += int64(len(payload))
	if len(payload) == 0 {
		return
	}
	tail := s.tails[way]
	joined := append(append([]byte(nil), tail...), payload...)
	for name, text := range s.texts {
		s.seen.Found[name] += bytes.Count(joined, text) - bytes.Count(tail, text)
	}
	if _, known := s.tails[way]; known || len(s.tails) < maxFlows {
		s.tails[way] = joined[max(0, len(joined)-s.longest+1):]
	}
}

// tcpOf reads the headers of a packet; ok is false for what is no TCP, or is cut off.
func tcpOf(raw []byte) (way flow, payload []byte, ok bool) {
	var segment []byte
	var from, to netip.Addr
	switch {
	case len(raw) >= 20 && raw[0]>>4 == 4:
		header, total := int(raw[0]&0x0f)*4, int(binary.BigEndian.Uint16(raw[2:]))
		if raw[9] != protocolTCP || header < 20 || total < header || total > len(raw) {
			return flow{}, nil, false
		}
		from, to = netip.AddrFrom4([4]byte(raw[12:16])), netip.AddrFrom4([4]byte(raw[16:20]))
		segment = raw[header:total]
	case len(raw) >= 40 && raw[0]>>4 == 6 && raw[6] == protocolTCP:
		from, to = netip.AddrFrom16([16]byte(raw[8:24])), netip.AddrFrom16([16]byte(raw[24:40]))
		segment = raw[40:]
	default:
		return flow{}, nil, false
	}
	if len(segment) < 20 {
		return flow{}, nil, false
	}
	offset := int(segment[12]>>4) * 4
	if offset < 20 || offset > len(segment) {
		return flow{}, nil, false
	}
	way = flow{
		from: netip.AddrPortFrom(from, binary.BigEndian.Uint16(segment)),
		to:   netip.AddrPortFrom(to, binary.BigEndian.Uint16(segment[2:])),
	}
	return way, segment[offset:], true
}
