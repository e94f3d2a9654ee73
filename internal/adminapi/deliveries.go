package adminapi

import (
	"context"
	"strings"

	"github.com/behalf-project/behalf/internal/event"
)

// Deliveries is the log of what was told to whom. event.Dispatcher is one.
type Deliveries interface {
	Deliveries(ctx context.Context, before string, limit int) ([]event.Delivery, error)
	Replay(ctx context.Context, id, actor string) (event.Delivery, error)
}

type listDeliveriesInput struct {
	Before string `query:"before" maxLength:"100" doc:"Only deliveries before the one with this id: the last of the page before."`
	Limit  int    `query:"limit" minimum:"1" maximum:"200" default:"50"`
}

type listDeliveriesOutput struct{ Body DeliveryList }

func (h *Handler) listDeliveries(ctx context.Context, in *listDeliveriesInput) (*listDeliveriesOutput, error) {
	list, err := h.cfg.Deliveries.Deliveries(ctx, in.Before, in.Limit)
	if err != nil {
		return nil, err
	}
	out := &listDeliveriesOutput{Body: DeliveryList{Items: make([]Delivery, 0, len(list))}}
	for _, d := range list {
		out.Body.Items = append(out.Body.Items, delivery(d))
	}
	return out, nil
}

type replayInput struct {
	ID   string   `path:"id" maxLength:"100"`
	Body *Nothing `required:"false"`
}

type deliveryOutput struct{ Body Delivery }

func (h *Handler) replayDelivery(ctx context.Context, in *replayInput) (*deliveryOutput, error) {
	again, err := h.cfg.Deliveries.Replay(ctx, in.ID, from(ctx).user.ID)
	if err != nil {
		return nil, err
	}
	return &deliveryOutput{Body: delivery(again)}, nil
}

func delivery(d event.Delivery) Delivery {
	channel, receiver, _ := strings.Cut(d.Receiver, " ")
	return Delivery{
		ID: d.ID, EventID: d.EventID, Type: string(d.Kind), Channel: channel, Receiver: receiver, State: string(d.State),
		Attempts: d.Attempts, Status: d.Status, Code: d.Code, CreatedAt: d.At, TriedAt: d.TriedAt, NextTryAt: d.NextAt,
	}
}
