// Package tbin is the Thrift strict binary protocol, as much of it as one HTTP request and its answer need: a message
// header and a struct, encoded from and into Go structs whose fields carry their Thrift ids.
//
//	type status struct {
//		Code     int32  `thrift:"1"`
//		SQLState string `thrift:"3,omitempty"`
//	}
//
// Go types stand for Thrift types one to one: bool, int8, int16, int32 (enums too), int64, float64, string, []byte
// (binary), struct, []T (list) and map[K]V. A pointer to a struct is an optional field. Nil pointers, slices and maps
// are left out; an empty slice that is not nil is sent as an empty list, which is a different answer to the client.
package tbin

import (
	"encoding/binary"
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"sync"
)

// MessageType is the kind of a message.
type MessageType byte

// The kinds of message that a client and a server exchange.
const (
	Call      MessageType = 1
	Reply     MessageType = 2
	Exception MessageType = 3
)

// Message is the header of a message. The struct that follows it is Body.
type Message struct {
	Type MessageType
	Name string
	Seq  int32
	Body []byte
}

// ApplicationException is the body of a message of type Exception.
type ApplicationException struct {
	Message string `thrift:"1"`
	Type    int32  `thrift:"2"`
}

// The types of ApplicationException that a server of ours sends.
const (
	UnknownMethod = 1
	InternalError = 6
	ProtocolError = 7
)

const version1 = 0x80010000

// wire is a Thrift type byte.
type wire byte

const (
	wireStop   wire = 0
	wireBool   wire = 2
	wireI8     wire = 3
	wireDouble wire = 4
	wireI16    wire = 6
	wireI32    wire = 8
	wireI64    wire = 10
	wireString wire = 11
	wireStruct wire = 12
	wireMap    wire = 13
	wireSet    wire = 14
	wireList   wire = 15
)

// ReadMessage splits data into the header of a message and its body.
func ReadMessage(data []byte) (Message, error) {
	d := decoder{data: data}
	head := uint32(d.i32())
	if d.err == nil && head&0xffff0000 != version1 {
		return Message{}, fmt.Errorf("thrift: header %#08x is not the strict binary protocol, version 1", head)
	}
	m := Message{Type: MessageType(head)}
	m.Name = string(d.bytes())
	m.Seq = d.i32()
	if d.err != nil {
		return Message{}, d.err
	}
	m.Body = d.data[d.at:]
	return m, nil
}

// AppendMessage appends a message of the given type, name and sequence number with body, a struct or a pointer to
// one, to dst.
func AppendMessage(dst []byte, t MessageType, name string, seq int32, body any) []byte {
	dst = binary.BigEndian.AppendUint32(dst, version1|uint32(t))
	dst = appendString(dst, name)
	dst = binary.BigEndian.AppendUint32(dst, uint32(seq))
	return Append(dst, body)
}

// layout is what is known of a Go struct: its fields by position and by id.
type layout struct {
	fields []field
	byID   map[int16]int // Thrift id to index in fields
}

type field struct {
	index     int
	id        int16
	omitempty bool
}

var layouts sync.Map // reflect.Type to *layout; derived from types alone, so it never goes stale

func layoutOf(t reflect.Type) *layout {
	if l, ok := layouts.Load(t); ok {
		return l.(*layout)
	}
	l := &layout{byID: map[int16]int{}}
	for i := range t.NumField() {
		tag, ok := t.Field(i).Tag.Lookup("thrift")
		if !ok {
			continue
		}
		num, opt, _ := strings.Cut(tag, ",")
		id, err := strconv.ParseInt(num, 10, 16)
		if err != nil {
			panic(fmt.Sprintf("tbin: field %s of %s has the tag %q", t.Field(i).Name, t, tag))
		}
		l.byID[int16(id)] = len(l.fields)
		l.fields = append(l.fields, field{index: i, id: int16(id), omitempty: opt == "omitempty"})
	}
	got, _ := layouts.LoadOrStore(t, l)
	return got.(*layout)
}

// wireOf returns the Thrift type that stands for t. A type that has none is a mistake in the program.
func wireOf(t reflect.Type) wire {
	switch t.Kind() {
	case reflect.Bool:
		return wireBool
	case reflect.Int8:
		return wireI8
	case reflect.Int16:
		return wireI16
	case reflect.Int32:
		return wireI32
	case reflect.Int64:
		return wireI64
	case reflect.Float64:
		return wireDouble
	case reflect.String:
		return wireString
	case reflect.Struct:
		return wireStruct
	case reflect.Map:
		return wireMap
	case reflect.Pointer:
		return wireOf(t.Elem())
	case reflect.Slice:
		if t.Elem().Kind() == reflect.Uint8 {
			return wireString
		}
		return wireList
	}
	panic(fmt.Sprintf("tbin: %s has no Thrift type", t))
}
