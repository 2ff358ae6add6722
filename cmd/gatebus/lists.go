package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/gatebus/gatebus/bus"
	"github.com/gatebus/gatebus/worker"
)

// listPage is how many a list asks for at a time.
const listPage = 1000

func newClients() *cobra.Command {
	var (
		flags  reachFlags
		uids   []string
		group  string
		fields []string
		limit  int
	)
	cmd := &cobra.Command{
		Use:   "clients",
		Short: "List the clients that are connected",
		Long: `List the clients that are connected: all, those of a uid, or those in a group; by
gateway, and then in the order in which they came. In names and sessions, what a
terminal would not show as it is stands in quotes.
` + reachText,
		Example: `  gatebus clients
  gatebus clients --group room1 --fields uid,session
  gatebus clients --uid ann --json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			q := worker.ClientsQuery{UIDs: uids, Fields: fields, Page: listPage}
			if cmd.Flags().Changed("group") {
				if q.Group = group; bus.CheckToken(group) != nil {
					return fmt.Errorf("clients: --group: %w", bus.CheckToken(group))
				}
			}
			r := bus.ListRequest{Of: bus.OfClients, UIDs: q.UIDs, Group: q.Group, Fields: q.Fields}
			if _, err := bus.RequestMsg(bus.AllGateways, r); err != nil {
				return fmt.Errorf("clients: %w", err)
			}
			if limit < 0 {
				return fmt.Errorf("clients: --limit %d: it must not be negative", limit)
			}
			out := newClientWriter(cmd.OutOrStdout(), flags.json, fields)
			return flags.reach(cmd, func(ctx context.Context, c *worker.Cluster) error {
				return pages(limit, func(size int) (n int, more bool, err error) {
					q.Page = size
					page, next, err := c.ClientsPage(ctx, q)
					q.After = next
					return len(page), next != "", errors.Join(err, out.write(page))
				})
			})
		},
	}
	flags.add(cmd)
	fs := cmd.Flags()
	fs.StringArrayVar(&uids, "uid", nil, "only those of a uid, by its `NAME`; can be repeated")
	fs.StringVar(&group, "group", "", "only those in a group, by its `NAME`")
	fs.StringSliceVar(&fields, "fields", []string{bus.FieldOpen, bus.FieldUID, bus.FieldGroups}, "what is told of each: uid, groups, session and open, with commas between")
	fs.IntVar(&limit, "limit", 0, "how many at most; 0: all")
	return cmd
}

// pages reads a list page by page, up to a limit if it is not 0. What is missing on
// some page is missing in all.
func pages(limit int, next func(size int) (n int, more bool, err error)) error {
	lost := missing{}
	for total := 0; ; {
		size := listPage
		if limit > 0 {
			size = min(size, limit-total)
		}
		n, more, err := next(size)
		if err != nil && !isPartial(err) {
			return err
		}
		if err = lost.add(err); err != nil {
			return err
		}
		if total += n; !more || limit > 0 && total == limit {
			return lost.err()
		}
	}
}

// clientWriter writes clients as a table, or as JSON.
type clientWriter struct {
	json   *json.Encoder // nil: a table
	table  *table
	fields []string
}

func newClientWriter(w io.Writer, asJSON bool, fields []string) *clientWriter {
	c := &clientWriter{}
	if asJSON {
		c.json = json.NewEncoder(w)
		c.json.SetEscapeHTML(false)
		return c
	}
	// What has no end comes last.
	heads := []string{"CLIENT"}
	for _, f := range []string{bus.FieldOpen, bus.FieldUID, bus.FieldGroups, bus.FieldSession} {
		if !slices.Contains(fields, f) {
			continue
		}
		c.fields = append(c.fields, f)
		if f == bus.FieldOpen {
			heads = append(heads, "SINCE", "REMOTE", "PATH")
			continue
		}
		heads = append(heads, strings.ToUpper(f))
	}
	c.table = newTable(w, heads...)
	return c
}

func (c *clientWriter) write(page []worker.ClientInfo) error {
	for i := range page {
		if c.json != nil {
			if err := c.json.Encode(&page[i]); err != nil {
				return err
			}
			continue
		}
		c.table.add(c.row(&page[i])...)
	}
	if c.json != nil {
		return nil
	}
	return c.table.flush()
}

func (c *clientWriter) row(info *worker.ClientInfo) []string {
	cells := []string{string(info.Client)}
	for _, f := range c.fields {
		switch f {
		case bus.FieldOpen:
			var open bus.OpenInfo
			if info.Open != nil {
				open = *info.Open
			}
			cells = append(cells, info.Connected.Local().Format(time.DateTime), orNone(open.Remote), orNone(open.Path))
		case bus.FieldUID:
			cells = append(cells, orNone(info.UID))
		case bus.FieldGroups:
			groups := slices.Sorted(slices.Values(info.Groups))
			for i, g := range groups {
				if groups[i] = shown(g); strings.ContainsAny(g, ", ") {
					groups[i] = strconv.Quote(g)
				}
			}
			if len(groups) == 0 {
				groups = []string{"-"}
			}
			cells = append(cells, strings.Join(groups, ","))
		case bus.FieldSession:
			cells = append(cells, orNone(string(info.Session)))
		}
	}
	return cells
}

// orNone is a text as it is shown, or a dash for none.
func orNone(s string) string {
	if s == "" {
		return "-"
	}
	return shown(s)
}

func newUIDs() *cobra.Command {
	var group string
	cmd := newNames("uids", "UID", "List the uids that have clients, and how many each has",
		`List the uids that have clients, and how many each has: all, or those of the clients
in a group; in the order of their bytes.`,
		"  gatebus uids\n  gatebus uids --group room1 --json",
		func(c *worker.Cluster) pageOf { return c.UIDsPage }, &group)
	cmd.Flags().StringVar(&group, "group", "", "only those of clients in a group, by its `NAME`")
	return cmd
}

func newGroups() *cobra.Command {
	return newNames("groups", "GROUP", "List the groups that have clients, and how many each has",
		"List the groups that have clients, and how many each has, in the order of their\nbytes.",
		"  gatebus groups\n  gatebus groups --json --limit 10",
		func(c *worker.Cluster) pageOf { return c.GroupsPage }, new(string))
}

// pageOf asks for a page of names.
type pageOf = func(context.Context, worker.NamesQuery) ([]worker.NameCount, string, error)

// newNames is the command that lists uids or groups.
func newNames(use, head, short, long, example string, of func(*worker.Cluster) pageOf, group *string) *cobra.Command {
	var (
		flags reachFlags
		limit int
	)
	cmd := &cobra.Command{
		Use: use, Short: short, Example: example, Args: cobra.NoArgs,
		Long: long + " In names, what a terminal would not show as it is stands in\nquotes.\n" + reachText,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if f := cmd.Flags().Lookup("group"); f != nil && f.Changed && bus.CheckToken(*group) != nil {
				return fmt.Errorf("%s: --group: %w", use, bus.CheckToken(*group))
			}
			if limit < 0 {
				return fmt.Errorf("%s: --limit %d: it must not be negative", use, limit)
			}
			var out *table
			lines := json.NewEncoder(cmd.OutOrStdout())
			lines.SetEscapeHTML(false)
			if !flags.json {
				out = newTable(cmd.OutOrStdout(), "CLIENTS", head)
			}
			return flags.reach(cmd, func(ctx context.Context, c *worker.Cluster) error {
				q := worker.NamesQuery{Group: *group}
				return pages(limit, func(size int) (n int, more bool, err error) {
					q.Page = size
					page, next, err := of(c)(ctx, q)
					q.After = next
					for _, name := range page {
						if flags.json {
							err = errors.Join(err, lines.Encode(name))
							continue
						}
						out.add(fmt.Sprintf("%7d", name.Clients), shown(name.Name))
					}
					if !flags.json {
						err = errors.Join(err, out.flush())
					}
					return len(page), next != "", err
				})
			})
		},
	}
	flags.add(cmd)
	cmd.Flags().IntVar(&limit, "limit", 0, "how many at most; 0: all")
	return cmd
}
