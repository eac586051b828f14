package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	stocksync "github.com/truestock/truestock/sync"
)

func (a *app) replayCommand() *cobra.Command {
	var parked bool
	cmd := &cobra.Command{
		Use:   "replay [ID...]",
		Short: "Apply parked events again; a running server takes them up within a second",
		Args:  cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			if parked == (len(args) > 0) {
				return usageError(errors.New("name the events to replay, or say --parked for all that are parked"))
			}
			h, err := a.openHouse(cmd.Context(), cmd.ErrOrStderr(), false)
			if err != nil {
				return err
			}
			return errors.Join(a.replay(cmd, h, args), h.close())
		},
	}
	cmd.Flags().BoolVar(&parked, "parked", false, "replay every parked event")
	return cmd
}

func (a *app) replay(cmd *cobra.Command, h *house, args []string) error {
	var ids []int64
	for _, text := range args {
		id, err := eventID(text)
		if err != nil {
			return err
		}
		ids = append(ids, id)
	}
	if len(args) == 0 {
		var err error
		if ids, err = parkedEvents(cmd, h); err != nil {
			return err
		}
	}
	for _, id := range ids {
		if err := h.engine.Replay(cmd.Context(), id, localUser()); err != nil {
			if errors.Is(err, stocksync.ErrNotFound) {
				return fmt.Errorf("event %d is not parked; see: truestock events --state parked", id)
			}
			return err
		}
	}
	if a.json() {
		return printJSON(cmd.OutOrStdout(), map[string]int{"replayed": len(ids)})
	}
	_, err := fmt.Fprintf(cmd.OutOrStdout(), "%d events are applied again.\n", len(ids))
	return err
}

func parkedEvents(cmd *cobra.Command, h *house) ([]int64, error) {
	var ids []int64
	var after int64
	for {
		page, err := h.engine.Events(cmd.Context(), stocksync.EventParked, after, 1000)
		if err != nil {
			return nil, err
		}
		if len(page) == 0 {
			return ids, nil
		}
		for _, e := range page {
			if after, err = eventID(e.ID); err != nil {
				return nil, err
			}
			ids = append(ids, after)
		}
	}
}
