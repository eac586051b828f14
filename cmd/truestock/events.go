package main

import (
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	stocksync "github.com/truestock/truestock/sync"
)

// maxEvents is the longest list of events.
const maxEvents = 10_000

func (a *app) eventsCommand() *cobra.Command {
	var state string
	var limit int
	var after int64
	cmd := a.inHouse("events [ID]", "List stored events, or show one with its body", cobra.MaximumNArgs(1), nil)
	run := func(cmd *cobra.Command, h *house, args []string) error {
		switch stocksync.EventState(state) {
		case "", stocksync.EventPending, stocksync.EventApplied, stocksync.EventParked:
		default:
			return usageError(fmt.Errorf("--state is %q: write pending, applied or parked", state))
		}
		if limit < 1 || limit > maxEvents || after < 0 {
			return usageError(fmt.Errorf("--limit goes from 1 to %d, and --after begins at 0", maxEvents))
		}
		if len(args) == 1 {
			return a.showEvent(cmd, h, args[0])
		}
		events, err := h.engine.Events(cmd.Context(), stocksync.EventState(state), after, limit)
		if err != nil {
			return err
		}
		if a.json() {
			return printJSON(cmd.OutOrStdout(), map[string]any{"data": events})
		}
		rows := make([][]string, 0, len(events))
		for _, e := range events {
			rows = append(rows, []string{e.ID, e.ReceivedAt.Format(time.RFC3339), string(e.Connection), e.Type, string(e.State), e.Reason})
		}
		return printTable(cmd.OutOrStdout(), "ID RECEIVED CONNECTION TYPE STATE REASON", rows)
	}
	cmd.RunE = a.inHouse(cmd.Use, cmd.Short, cmd.Args, run).RunE
	cmd.Flags().StringVar(&state, "state", "", "only events in this state: pending, applied or parked")
	cmd.Flags().IntVar(&limit, "limit", 100, "at most so many")
	cmd.Flags().Int64Var(&after, "after", 0, "only events with a larger id")
	_ = cmd.RegisterFlagCompletionFunc("state", cobra.FixedCompletions([]string{"pending", "applied", "parked"}, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

func (a *app) showEvent(cmd *cobra.Command, h *house, text string) error {
	id, err := eventID(text)
	if err != nil {
		return err
	}
	e, err := h.engine.Event(cmd.Context(), id)
	if errors.Is(err, stocksync.ErrNotFound) {
		return fmt.Errorf("no event has the id %d; see: truestock events", id)
	}
	if err != nil {
		return err
	}
	if a.json() {
		return printJSON(cmd.OutOrStdout(), e)
	}
	_, err = fmt.Fprintf(cmd.OutOrStdout(), "event %s from %s, %s, received %s\nkey %s\nstate %s %s\n%s\n",
		e.ID, e.Connection, plain(e.Type), e.ReceivedAt.Format(time.RFC3339Nano), plain(e.Key), e.State, plain(e.Reason), plain(e.Body))
	return err
}

func eventID(text string) (int64, error) {
	id, err := strconv.ParseInt(text, 10, 64)
	if err != nil || id < 1 {
		return 0, usageError(fmt.Errorf("%q is not an id: ids are whole numbers from 1, as the list shows them", text))
	}
	return id, nil
}
