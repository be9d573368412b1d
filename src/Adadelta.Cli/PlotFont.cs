using ScottPlot;
using SkiaSharp;

namespace Adadelta.Cli;

/// <summary>The plot's font, carried along: a machine without fonts would draw a curve without a word on it.</summary>
internal sealed class PlotFont : IFontResolver
{
    public const string Family = "DejaVu Sans";

    private const string Resource = "DejaVuSans-ascii.ttf";

    /// <summary>Makes <see cref="Family"/> known to ScottPlot.</summary>
    public static void Register()
    {
        if (!Fonts.FontResolvers.Exists(resolver => resolver is PlotFont))
        {
            Fonts.FontResolvers.Insert(0, new PlotFont());
        }
    }

    public SKTypeface? CreateTypeface(string fontName, FontWeight weight, FontSlant slant, FontSpacing spacing)
    {
        if (fontName != Family)
        {
            return null;
        }

        using Stream font = typeof(PlotFont).Assembly.GetManifestResourceStream(Resource)
            ?? throw new InvalidOperationException($"resource {Resource} is missing from the assembly");
        return SKTypeface.FromStream(font);
    }

    public SKTypeface? CreateTypeface(string fontName, bool bold, bool italic) =>
        CreateTypeface(fontName, FontWeight.Normal, FontSlant.Upright, FontSpacing.Normal);
}
