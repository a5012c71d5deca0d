package proto

import (
	"math"

	"google.golang.org/protobuf/reflect/protoreflect"
	"pgregory.net/rapid"

	"github.com/depthcast/depthcast/proto/pb"
)

// drawMessage fills m at random by its descriptor, as an encoder of ours would: no
// empty Levels, words for every enum value, exponents within bounds.
func drawMessage(t *rapid.T, m protoreflect.Message) {
	fields := m.Descriptor().Fields()
	for i := range fields.Len() {
		fd := fields.Get(i)
		if fd.ContainingOneof() != nil && !fd.ContainingOneof().IsSynthetic() || !rapid.Bool().Draw(t, "set") {
			continue
		}
		name := string(fd.Name())
		switch {
		case fd.IsList():
			list := m.Mutable(fd).List()
			for range rapid.IntRange(1, 4).Draw(t, name) {
				if fd.Message() != nil {
					drawMessage(t, list.AppendMutable().Message())
				} else {
					list.Append(drawScalar(t, fd))
				}
			}
		case fd.Message() == nil:
			m.Set(fd, drawScalar(t, fd))
		case fd.Message().Name() == "Levels":
			counts := rapid.Bool().Draw(t, "counts")
			if levels := pbLevels(drawLevels(t, counts), counts); levels != nil {
				m.Set(fd, protoreflect.ValueOfMessage(levels.ProtoReflect()))
			}
		case fd.Message().Name() == "RankedOrders":
			o := &pb.RankedOrders{}
			for range rapid.IntRange(1, 4).Draw(t, name) {
				o.OrderId, o.Price = append(o.OrderId, rapid.Int64().Draw(t, "id")), append(o.Price, anyPrice.Draw(t, "price"))
				o.Qty, o.RankSeq = append(o.Qty, anyQty.Draw(t, "qty")), append(o.RankSeq, rapid.Int64().Draw(t, "rank"))
				o.RankIndex = append(o.RankIndex, rapid.Uint32().Draw(t, "index"))
			}
			m.Set(fd, protoreflect.ValueOfMessage(o.ProtoReflect()))
		default:
			drawMessage(t, m.Mutable(fd).Message())
		}
	}
}

func drawScalar(t *rapid.T, fd protoreflect.FieldDescriptor) protoreflect.Value {
	name := string(fd.Name())
	switch fd.Kind() {
	case protoreflect.BoolKind:
		return protoreflect.ValueOfBool(rapid.Bool().Draw(t, name))
	case protoreflect.StringKind:
		return protoreflect.ValueOfString(rapid.StringN(0, 12, 48).Draw(t, name))
	case protoreflect.BytesKind:
		return protoreflect.ValueOfBytes(rapid.SliceOfN(rapid.Byte(), 1, MaxPingBytes).Draw(t, name))
	case protoreflect.EnumKind:
		n := rapid.IntRange(0, fd.Enum().Values().Len()-1).Draw(t, name)
		return protoreflect.ValueOfEnum(protoreflect.EnumNumber(n))
	case protoreflect.Uint32Kind, protoreflect.Fixed32Kind:
		return protoreflect.ValueOfUint32(rapid.Uint32().Draw(t, name))
	case protoreflect.Sint32Kind:
		return protoreflect.ValueOfInt32(rapid.Int32Range(MinExponent, MaxExponent).Draw(t, name))
	case protoreflect.Uint64Kind, protoreflect.Fixed64Kind:
		return protoreflect.ValueOfUint64(anyUint64.Draw(t, name))
	}
	return protoreflect.ValueOfInt64(rapid.Int64Range(math.MinInt64, math.MaxInt64).Draw(t, name))
}

// drawBody sets one body of a Request or Frame at random.
func drawBody(t *rapid.T, m protoreflect.Message) {
	var bodies []protoreflect.FieldDescriptor
	fields := m.Descriptor().Fields()
	for i := range fields.Len() {
		if fields.Get(i).ContainingOneof() != nil {
			bodies = append(bodies, fields.Get(i))
		}
	}
	drawMessage(t, m.Mutable(rapid.SampledFrom(bodies).Draw(t, "body")).Message())
}

func drawFrame(t *rapid.T) *pb.Frame {
	f := &pb.Frame{}
	drawBody(t, f.ProtoReflect())
	return f
}

// drawRequest draws a request that is within bounds.
func drawRequest(t *rapid.T) *pb.Request {
	req := &pb.Request{Id: rapid.OneOf(rapid.Just(uint32(0)), rapid.Uint32()).Draw(t, "id")}
	drawBody(t, req.ProtoReflect())
	switch b := req.Body.(type) {
	case *pb.Request_Subscribe:
		b.Subscribe.Items = append(b.Subscribe.Items, &pb.SubscribeItem{Symbol: "X"})
	case *pb.Request_Modify:
		b.Modify.Items = append(b.Modify.Items, &pb.ModifyItem{Topic: 1})
	case *pb.Request_Unsubscribe:
		b.Unsubscribe.Topics = append(b.Unsubscribe.Topics, 0)
	case *pb.Request_Resync:
		b.Resync.Topics = append(b.Resync.Topics, 7)
	}
	return req
}
