package journal

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
)

// header begins every file. Another format gets another one.
const header = "behalf journal 1\n"

// maxRecord bounds a record: a grant's tokens are some kilobytes.
const maxRecord = 1 << 20

// record is one line of the file's history: a payload to keep, or the word that it is kept elsewhere now. In the file it
// is a frame:
//
//	length of the body   4 bytes, big-endian
//	CRC-32C of the body  4 bytes, big-endian
//	body                 JSON
//
// The checksum finds what the disk did; what people did is found by the seal.
type record struct {
	ID     string `json:"id"`
	Seq    int64  `json:"seq,omitempty"` // grows over all the records that its process knew of
	Owner  string `json:"owner,omitempty"`
	Sealed []byte `json:"sealed,omitempty"`
	Done   bool   `json:"done,omitempty"`
}

const frameHead = 8

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

var (
	errTorn    = errors.New("the last record is not whole")
	errDamaged = errors.New("a record is damaged")
)

func (r record) encode() ([]byte, error) {
	body, err := json.Marshal(r)
	if err != nil {
		return nil, err
	}
	if len(body) > maxRecord {
		return nil, fmt.Errorf("a record of %d bytes is too large", len(body))
	}
	frame := make([]byte, frameHead, frameHead+len(body))
	binary.BigEndian.PutUint32(frame, uint32(len(body)))
	binary.BigEndian.PutUint32(frame[4:], crc32.Checksum(body, castagnoli))
	return append(frame, body...), nil
}

// decode reads the content of a file and returns its records up to the first that is not whole, and where that begins.
// The error is errTorn when nothing follows it, as after a crash, and errDamaged otherwise.
func decode(content []byte) (records []record, good int, err error) {
	if !bytes.HasPrefix(content, []byte(header)) {
		if bytes.HasPrefix([]byte(header), content) { // it was being made
			return nil, 0, errTorn
		}
		return nil, 0, fmt.Errorf("%w: it does not begin as a journal does", errDamaged)
	}
	for good = len(header); good < len(content); {
		rest := content[good:]
		if len(rest) < frameHead {
			return records, good, errTorn
		}
		length := int64(binary.BigEndian.Uint32(rest))
		if length > maxRecord {
			return records, good, fmt.Errorf("%w: at byte %d it has no length", errDamaged, good)
		}
		if int64(len(rest)) < frameHead+length {
			if holdsRecord(rest[1:]) {
				return records, good, fmt.Errorf("%w: at byte %d it has a wrong length", errDamaged, good)
			}
			return records, good, errTorn
		}
		body := rest[frameHead : frameHead+length]
		var r record
		if crc32.Checksum(body, castagnoli) != binary.BigEndian.Uint32(rest[4:]) || json.Unmarshal(body, &r) != nil || r.ID == "" {
			if int64(len(rest)) == frameHead+length { // the file had its length before its content
				return records, good, errTorn
			}
			return records, good, fmt.Errorf("%w: at byte %d its checksum differs", errDamaged, good)
		}
		records = append(records, r)
		good += frameHead + int(length)
	}
	return records, good, nil
}

// holdsRecord reports whether a whole record begins anywhere in content.
func holdsRecord(content []byte) bool {
	for ; len(content) >= frameHead; content = content[1:] {
		length := int64(binary.BigEndian.Uint32(content))
		if length == 0 || length > maxRecord || int64(len(content)) < frameHead+length {
			continue
		}
		body := content[frameHead : frameHead+length]
		if crc32.Checksum(body, castagnoli) == binary.BigEndian.Uint32(content[4:]) && json.Valid(body) {
			return true
		}
	}
	return false
}
