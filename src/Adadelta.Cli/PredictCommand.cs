using System.CommandLine;
using System.Globalization;
using Adadelta.Native;
using Adadelta.Training;
using static System.FormattableString;

namespace Adadelta.Cli;

/// <summary><c>adadelta predict</c>: what a trained model reads in image files or in a data set's test images.</summary>
internal static class PredictCommand
{
    public static Command Create()
    {
        Argument<string[]> images = new("IMAGE")
        {
            Description = "PNG file, or index of an image in the data set's test images, from 0 (a file named 7: ./7). A picture "
                + "is converted to gray, centred on ground of its border's colour and resized to the network's input.",
            Arity = ArgumentArity.OneOrMore,
        };
        images.Validators.Add(result =>
        {
            // Where arguments may follow, the parser takes an unknown option for one.
            if (result.Tokens.FirstOrDefault(token => token.Value.StartsWith('-') && !File.Exists(token.Value)) is { } token)
            {
                result.AddError($"'{token.Value}', expected an option of predict, a PNG file or an index from 0");
            }
        });
        Option<string?> model = CommonOptions.Model();
        Option<string?> network = CommonOptions.Network("Network of the model [default: the one that the model holds]");
        Option<string?> data = CommonOptions.Data("Data set of the indices [default: the one the model was trained with]");
        Option<string?> dataDir = CommonOptions.DataDir();
        Option<bool> transpose = CommonOptions.Transpose();
        Option<Inversion> invert = new("--invert")
        {
            Description = "Exchange light and dark of the pictures: yes, no, or auto, which does so where a picture's ground is light "
                + "and the training images' is dark, or the reverse [default: auto]",
            HelpName = "auto|yes|no",
            CustomParser = result =>
            {
                string text = result.Tokens[0].Value;
                Inversion? known = text switch { "auto" => Inversion.Auto, "yes" => Inversion.Yes, "no" => Inversion.No, _ => null };
                if (known is null)
                {
                    result.AddError($"--invert: {(text.Length == 0 ? "''" : text)}, expected auto, yes or no");
                }

                return known ?? default;
            },
        };
        Option<Device> device = CommonOptions.Device();
        Option<int> threads = CommonOptions.Threads();
        Command command = new("predict", "Read images with a trained model: class and probabilities")
        {
            images, model, network, data, dataDir, transpose, invert, device, threads,
        };
        command.SetAction(result => Run(
            result.GetRequiredValue(images), result.GetValue(model), result.GetValue(network), result.GetValue(data),
            result.GetValue(dataDir), result.GetValue(transpose), result.GetValue(invert), result.GetValue(device), result.GetValue(threads)));
        return command;
    }

    private static int Run(
        string[] images, string? modelPath, string? networkFile, string? dataChoice, string? dataDir, bool transpose,
        Inversion inversion, Device device, int threads)
    {
        foreach (string picture in images.Where(image => !IsIndex(image)))
        {
            PictureFile.Check(picture);
        }

        SavedModel model = SavedModel.Find(modelPath, networkFile);
        PixelStatistics? known = model.Plan?.Data.Pixels;
        if (known is null && inversion == Inversion.Auto && !images.All(IsIndex))
        {
            throw new UsageException(
                $"--invert: auto, but '{model.Weights}' does not say what its training images look like, expected yes or no");
        }

        using StopSignal stop = new();
        using ComputeContext context = CommonOptions.OpenContext(device, threads);
        DataSource? data = images.Any(IsIndex) ? model.OpenData(dataChoice, dataDir, transpose, stop.Token) : null;
        using Network network = model.Build(context, data);
        if (data is not null && data.Split.Test.Shape != network.InputShape)
        {
            throw new InvalidDataException(
                $"the images of {data.Split.Name} are {data.Split.Test.Shape}, expected the network's {network.InputShape}");
        }

        if (network.InputShape.Channels is not (1 or 3) && !images.All(IsIndex))
        {
            throw new InvalidDataException(
                $"the network takes images of {network.InputShape.Channels} channels, expected 1 (gray) or 3 (colour) for a picture");
        }

        float[] logits = new float[network.OutputCount];
        bool first = true;
        foreach (string image in images)
        {
            stop.Token.ThrowIfCancellationRequested();
            (float[] input, string description) = IsIndex(image)
                ? FromTestImages(image, data!.Split)
                : FromPicture(image, network.InputShape, inversion, known);
            network.Forward(input, logits);
            if (!logits.All(float.IsFinite))
            {
                throw model.NotNumbers($"its outputs for {image} are {string.Join(", ", logits.Select(logit => Invariant($"{logit}")))}, expected finite numbers");
            }

            if (!first)
            {
                Console.WriteLine();
            }

            first = false;
            Write(image, description, logits);
        }

        return ExitCode.Ok;
    }

    private static bool IsIndex(string image) => image.All(char.IsAsciiDigit) && image.Length > 0;

    private static (float[] Input, string Description) FromPicture(
        string path, ImageShape shape, Inversion inversion, PixelStatistics? known)
    {
        using PictureFile picture = PictureFile.Read(path);
        return PictureInput.Of(picture, shape, inversion, known);
    }

    private static (float[] Input, string Description) FromTestImages(string image, DataSplit data)
    {
        ImageDataset test = data.Test;
        if (!int.TryParse(image, NumberStyles.None, CultureInfo.InvariantCulture, out int index) || index >= test.Count)
        {
            throw new UsageException($"image {image}: expected 0 <= index < {test.Count}, the test images of {data.Name}");
        }

        float[] input = new float[test.Shape.Count];
        ReadOnlySpan<byte> pixels = test.Image(index);
        for (int i = 0; i < input.Length; i++)
        {
            input[i] = pixels[i] / 255f;
        }

        return (input, $"test image of {data.Name}, labelled {test.Labels.Span[index]}");
    }

    private static void Write(string image, string description, float[] logits)
    {
        double[] probabilities = Softmax(logits);
        int best = Array.IndexOf(probabilities, probabilities.Max());
        Console.WriteLine(Invariant($"{image}: {best} ({100 * probabilities[best]:0.00} %), {description}"));
        for (int i = 0; i < probabilities.Length; i++)
        {
            string bar = new('#', (int)Math.Round(40 * probabilities[i]));
            Console.WriteLine(Invariant($"{i,5} {100 * probabilities[i],6:0.00} % {bar}").TrimEnd());
        }
    }

    private static double[] Softmax(float[] logits)
    {
        double most = logits.Max();
        double[] weights = [.. logits.Select(logit => Math.Exp(logit - most))];
        double sum = weights.Sum();
        return [.. weights.Select(weight => weight / sum)];
    }
}
