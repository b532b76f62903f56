package snapshot

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"errors"
	"io"

	"google.golang.org/protobuf/encoding/protowire"
)

// sealKey is where Vault stores, in the clear, how many shares there are.
const sealKey = "core/seal-config"

var errNoSeal = errors.New("no configuration of the seal found")

// seal finds the number of shares in state.bin. That is a row of messages, each
// after its length, of which field 1 is a key and field 2 its value.
func seal(r io.Reader) (shares, threshold int, err error) {
	in := bufio.NewReader(r)
	room := make([]byte, small)
	for {
		size, err := binary.ReadUvarint(in)
		if errors.Is(err, io.EOF) {
			return 0, 0, errNoSeal
		} else if err != nil {
			return 0, 0, err
		}
		if size > small {
			if _, err := io.CopyN(io.Discard, in, int64(size)); err != nil {
				return 0, 0, err
			}
			continue
		}
		message := room[:size]
		if _, err := io.ReadFull(in, message); err != nil {
			return 0, 0, err
		}
		var config struct {
			Shares    int `json:"secret_shares"`
			Threshold int `json:"secret_threshold"`
		}
		key, value := entry(message)
		if string(key) == sealKey && json.Unmarshal(value, &config) == nil {
			return config.Shares, config.Threshold, nil
		}
	}
}

// entry takes a message apart; what is not understood stays empty.
func entry(message []byte) (key, value []byte) {
	for len(message) > 0 {
		number, kind, n := protowire.ConsumeTag(message)
		if n < 0 {
			return nil, nil
		}
		message = message[n:]
		if kind != protowire.BytesType {
			if n = protowire.ConsumeFieldValue(number, kind, message); n < 0 {
				return nil, nil
			}
			message = message[n:]
			continue
		}
		field, n := protowire.ConsumeBytes(message)
		if n < 0 {
			return nil, nil
		}
		message = message[n:]
		switch number {
		case 1:
			key = field
		case 2:
			value = field
		}
	}
	return key, value
}
