package tbin

import (
	"encoding/binary"
	"math"
	"reflect"
)

// Append appends the struct v, or the struct that v points to, to dst. It panics on a Go type that has no Thrift type.
func Append(dst []byte, v any) []byte {
	return appendValue(dst, reflect.ValueOf(v))
}

func appendValue(dst []byte, v reflect.Value) []byte {
	switch v.Kind() {
	case reflect.Pointer:
		return appendValue(dst, v.Elem())
	case reflect.Bool:
		if v.Bool() {
			return append(dst, 1)
		}
		return append(dst, 0)
	case reflect.Int8:
		return append(dst, byte(v.Int()))
	case reflect.Int16:
		return binary.BigEndian.AppendUint16(dst, uint16(v.Int()))
	case reflect.Int32:
		return binary.BigEndian.AppendUint32(dst, uint32(v.Int()))
	case reflect.Int64:
		return binary.BigEndian.AppendUint64(dst, uint64(v.Int()))
	case reflect.Float64:
		return binary.BigEndian.AppendUint64(dst, math.Float64bits(v.Float()))
	case reflect.String:
		return appendString(dst, v.String())
	case reflect.Slice:
		return appendSlice(dst, v)
	case reflect.Map:
		dst = append(dst, byte(wireOf(v.Type().Key())), byte(wireOf(v.Type().Elem())))
		dst = binary.BigEndian.AppendUint32(dst, uint32(v.Len()))
		for it := v.MapRange(); it.Next(); {
			dst = appendValue(appendValue(dst, it.Key()), it.Value())
		}
		return dst
	}
	return appendStruct(dst, v)
}

func appendStruct(dst []byte, v reflect.Value) []byte {
	for _, f := range layoutOf(v.Type()).fields {
		fv := v.Field(f.index)
		switch fv.Kind() {
		case reflect.Pointer, reflect.Slice, reflect.Map:
			if fv.IsNil() {
				continue
			}
		}
		if f.omitempty && fv.IsZero() {
			continue
		}
		dst = append(dst, byte(wireOf(fv.Type())))
		dst = binary.BigEndian.AppendUint16(dst, uint16(f.id))
		dst = appendValue(dst, fv)
	}
	return append(dst, byte(wireStop))
}

// appendSlice writes the long lists, which are the columns of a result, without reflecting on each value.
func appendSlice(dst []byte, v reflect.Value) []byte {
	if v.Type().Elem().Kind() == reflect.Uint8 {
		b := v.Bytes()
		dst = binary.BigEndian.AppendUint32(dst, uint32(len(b)))
		return append(dst, b...)
	}
	dst = append(dst, byte(wireOf(v.Type().Elem())))
	dst = binary.BigEndian.AppendUint32(dst, uint32(v.Len()))
	switch list := v.Interface().(type) {
	case []string:
		for _, s := range list {
			dst = appendString(dst, s)
		}
	case []int64:
		for _, n := range list {
			dst = binary.BigEndian.AppendUint64(dst, uint64(n))
		}
	case []int32:
		for _, n := range list {
			dst = binary.BigEndian.AppendUint32(dst, uint32(n))
		}
	case []float64:
		for _, f := range list {
			dst = binary.BigEndian.AppendUint64(dst, math.Float64bits(f))
		}
	default:
		for i := range v.Len() {
			dst = appendValue(dst, v.Index(i))
		}
	}
	return dst
}

func appendString(dst []byte, s string) []byte {
	dst = binary.BigEndian.AppendUint32(dst, uint32(len(s)))
	return append(dst, s...)
}
