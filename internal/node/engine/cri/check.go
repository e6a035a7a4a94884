package cri

import (
	"fmt"
	"math"
	"strings"

	"google.golang.org/protobuf/reflect/protoreflect"
	runtime "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/sampan-cloud/sampan/internal/base/fault"
)

// checkRequest refuses what no request may hold, whichever call it is for: an
// enumeration's value that the interface does not define, which would be read as
// some other one, and text with a zero byte, which the kernel would cut short.
func checkRequest(req any) error {
	m, ok := req.(interface{ ProtoReflect() protoreflect.Message })
	if !ok {
		return nil
	}
	return checkMessage("", m.ProtoReflect())
}

func checkMessage(path string, m protoreflect.Message) (err error) {
	m.Range(func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		name := string(f.Name())
		if path != "" {
			name = path + "." + name
		}
		err = checkField(name, f, v)
		return err == nil
	})
	return err
}

func checkField(name string, f protoreflect.FieldDescriptor, v protoreflect.Value) (err error) {
	switch {
	case f.IsMap():
		v.Map().Range(func(k protoreflect.MapKey, v protoreflect.Value) bool {
			at := fmt.Sprintf("%s[%q]", name, k.String())
			if err = checkValue(at, f.MapKey(), k.Value()); err == nil {
				err = checkValue(at, f.MapValue(), v)
			}
			return err == nil
		})
		return err
	case f.IsList():
		list := v.List()
		for i := range list.Len() {
			if err := checkValue(fmt.Sprintf("%s[%d]", name, i), f, list.Get(i)); err != nil {
				return err
			}
		}
		return nil
	}
	return checkValue(name, f, v)
}

func checkValue(name string, f protoreflect.FieldDescriptor, v protoreflect.Value) error {
	switch f.Kind() {
	case protoreflect.MessageKind:
		return checkMessage(name, v.Message())
	case protoreflect.EnumKind:
		if f.Enum().Values().ByNumber(v.Enum()) == nil {
			return fmt.Errorf("%s: %d is no %s: %w", name, v.Enum(), f.Enum().Name(), fault.Invalid)
		}
	case protoreflect.StringKind:
		if strings.ContainsRune(v.String(), 0) {
			return fmt.Errorf("%s contains a zero byte: %w", name, fault.Invalid)
		}
	}
	return nil
}

// checkProfile refuses a profile whose two halves do not fit.
func checkProfile(field string, p *runtime.SecurityProfile) error {
	local := p.GetProfileType() == runtime.SecurityProfile_Localhost
	switch {
	case local && p.GetLocalhostRef() == "":
		return fmt.Errorf("%s.localhost_ref is empty: %w", field, fault.Invalid)
	case !local && p.GetLocalhostRef() != "":
		return fmt.Errorf("%s.localhost_ref with profile_type %s: %w", field, p.GetProfileType(), fault.Invalid)
	}
	return nil
}

// checkID refuses what is no user or group; the kernel reads the largest as none.
func checkID(field string, id int64) error {
	if id < 0 || id >= math.MaxUint32 {
		return fmt.Errorf("%s: %d is not between 0 and %d: %w", field, id, uint32(math.MaxUint32-1), fault.Invalid)
	}
	return nil
}

// checkTimeout refuses a time before now.
func checkTimeout(seconds int64) error {
	if seconds < 0 {
		return fmt.Errorf("timeout: %d seconds: %w", seconds, fault.Invalid)
	}
	return nil
}
