package main

import (
	"fmt"
	"image/color"
	"path/filepath"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
)

var (
	shoalColor = color.RGBA{R: 0x1f, G: 0x77, B: 0xb4, A: 0xff}
	lightColor = color.RGBA{R: 0x9e, G: 0xca, B: 0xe1, A: 0xff}
	peerColor  = color.RGBA{R: 0xa0, G: 0xa0, B: 0xa0, A: 0xff}
)

// bar is one bar of a plot, drawn from left to right.
type bar struct {
	name  string
	value float64
	label string
	color color.Color
}

// barPlot draws bars, the first on top.
func barPlot(path, title, axis string, bars []bar) error {
	p := plot.New()
	p.Title.Text = title
	p.Title.Padding = vg.Points(8)
	p.X.Label.Text = axis
	p.X.Min = 0
	p.Y.Padding = vg.Points(4)
	names := make([]string, len(bars))
	labels := plotter.XYLabels{}
	longest := 0.0
	for i, b := range bars {
		at := len(bars) - 1 - i
		names[at] = b.name
		chart, err := plotter.NewBarChart(plotter.Values{b.value}, vg.Points(13))
		if err != nil {
			return fmt.Errorf("plot %s: %w", path, err)
		}
		chart.Horizontal, chart.XMin, chart.Color, chart.LineStyle.Width = true, float64(at), b.color, 0
		p.Add(chart)
		labels.XYs = append(labels.XYs, plotter.XY{X: b.value, Y: float64(at)})
		labels.Labels = append(labels.Labels, " "+b.label)
		longest = max(longest, b.value)
	}
	text, err := plotter.NewLabels(labels)
	if err != nil {
		return fmt.Errorf("plot %s: %w", path, err)
	}
	text.Offset.Y = -vg.Points(4)
	p.Add(text)
	p.NominalY(names...)
	p.X.Max = longest * 1.12 // room for the labels
	height := vg.Points(float64(70 + 20*len(bars)))
	if err := p.Save(vg.Points(640), height, path); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}

// plots writes one plot for each table.
func (r *report) plots(dir string) error {
	var costs, drops, transfers []bar
	for i, c := range r.costs {
		if i == c.floor {
			continue
		}
		costs = append(costs, newBar(c.name, c.total.minus(r.costs[c.floor].total).median(), "%.0f", shoalColor))
	}
	for _, d := range r.drops {
		costs := newBar(d.name, d.delivered.median(), "%.0f", peerColor)
		if d.shoal {
			costs.color = shoalColor
		}
		drops = append(drops, costs)
	}
	for _, t := range r.transfers {
		transfers = append(transfers,
			newBar(t.name+", upload", t.upload.median(), "%.1f", shoalColor),
			newBar(t.name+", download", t.download.median(), "%.1f", lightColor))
	}
	if err := barPlot(filepath.Join(dir, "cost.svg"), "Paths through the programs", "ns more than a bare drop", costs); err != nil {
		return err
	}
	if err := barPlot(filepath.Join(dir, "drop.svg"), "Another node's packet, from the wire to its drop", "CPU time at the node, ns", drops); err != nil {
		return err
	}
	return barPlot(filepath.Join(dir, "transfer.svg"), "One TCP transfer through a node", "Gbit/s", transfers)
}

func newBar(name string, value float64, format string, c color.Color) bar {
	return bar{name, max(value, 0), fmt.Sprintf(format, value), c}
}
