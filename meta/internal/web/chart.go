package web

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/ops-updater/ops-updater/internal/printable"
	"github.com/ops-updater/ops-updater/meta/api"
)

// Charts are SVG drawn on the server, so that they need no script, print, and
// can be read aloud: every chart carries its summary in words.
const (
	chartWidth  = 640.0
	chartHeight = 120.0
)

// stackChart is versions over time, stacked; Areas are polygons.
type stackChart struct {
	Summary string
	From    time.Time
	To      time.Time
	Top     int // hosts at the upper edge
	Areas   []area
}

type area struct {
	Label  string
	Points string // of an SVG polygon
	Colour int
}

// lineChart is one number over time.
type lineChart struct {
	Summary string
	From    time.Time
	To      time.Time
	Top     int
	Points  string // of an SVG polyline
	Floor   string // of the polygon under it
}

// timeline is the samples of one chart on a common axis.
type timeline struct {
	at  []time.Time
	top int
}

func (t timeline) xAt(i int) float64 {
	span := t.at[len(t.at)-1].Sub(t.at[0])
	if span <= 0 {
		return chartWidth
	}
	return chartWidth * float64(t.at[i].Sub(t.at[0])) / float64(span)
}

func (t timeline) yOf(n int) float64 {
	return chartHeight - (chartHeight-4)*float64(n)/float64(max(t.top, 1))
}

func pointText(x, y float64) string { return fmt.Sprintf("%.1f,%.1f", x, y) }

// versionChart stacks an agent's versions, the oldest at the bottom. It is
// empty until there are two samples. Versions that run now have the colours
// that their shares have.
func versionChart(history []api.Sample, now api.AgentOverview) stackChart {
	agent := now.Name
	samples := slices.DeleteFunc(slices.Clone(history), func(s api.Sample) bool { return s.Agent != agent })
	if len(samples) < 2 {
		return stackChart{}
	}
	axis, all := timeline{}, map[string]int{}
	for _, s := range samples {
		axis.at = append(axis.at, s.At)
		total := 0
		for version, n := range s.Versions {
			all[version] = max(all[version], n)
			total += n
		}
		axis.top = max(axis.top, total)
	}
	chart := stackChart{From: axis.at[0], To: axis.at[len(axis.at)-1], Top: axis.top}
	newest, colour := newestFirst(all), versionColours(now.Versions, all)
	base := make([]int, len(samples))
	for _, version := range slices.Backward(newest) {
		chart.Areas = append(chart.Areas, area{Label: version, Colour: colour[version], Points: axis.bandOf(samples, version, base)})
	}
	last := samples[len(samples)-1]
	chart.Summary = fmt.Sprintf("%s over time. Now: %s.", agent, countsInWords(newest, last.Versions))
	return chart
}

// bandOf is the polygon of one version on top of base, which it raises.
func (t timeline) bandOf(samples []api.Sample, version string, base []int) string {
	lower, upper := make([]string, len(samples)), make([]string, len(samples))
	for i, s := range samples {
		lower[i] = pointText(t.xAt(i), t.yOf(base[i]))
		base[i] += s.Versions[version]
		upper[i] = pointText(t.xAt(i), t.yOf(base[i]))
	}
	slices.Reverse(lower)
	return strings.Join(append(upper, lower...), " ")
}

func countsInWords(versions []string, counts map[string]int) string {
	var parts []string
	for _, version := range versions {
		if n := counts[version]; n > 0 {
			parts = append(parts, fmt.Sprintf("%s on %s", printable.Count(n, "host", "hosts"), version))
		}
	}
	if len(parts) == 0 {
		return "no host"
	}
	return strings.Join(parts, ", ")
}

// failureChart is how many hosts were failing, over all agents.
func failureChart(history []api.Sample) lineChart {
	failing := map[time.Time]int{}
	for _, s := range history {
		failing[s.At] += s.Failing
	}
	if len(failing) < 2 {
		return lineChart{}
	}
	axis := timeline{at: slices.SortedFunc(maps.Keys(failing), time.Time.Compare)}
	for _, n := range failing {
		axis.top = max(axis.top, n)
	}
	points := make([]string, len(axis.at))
	for i, at := range axis.at {
		points[i] = pointText(axis.xAt(i), axis.yOf(failing[at]))
	}
	line := strings.Join(points, " ")
	last := failing[axis.at[len(axis.at)-1]]
	return lineChart{
		From: axis.at[0], To: axis.at[len(axis.at)-1], Top: axis.top, Points: line,
		Floor:   pointText(0, chartHeight) + " " + line + " " + pointText(chartWidth, chartHeight),
		Summary: fmt.Sprintf("Failing agents over the last day: now %d, at most %d.", last, axis.top),
	}
}
