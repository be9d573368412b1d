using System.Runtime.InteropServices;

namespace Adadelta.Cli;

/// <summary>
/// Turns Ctrl+C (SIGINT), SIGTERM and SIGHUP into a cancelled token, so that the work can stop and be saved. A Ctrl+C after that
/// is left to the system, which ends the process; the other two may come twice by themselves, as when a terminal closes.
/// </summary>
internal sealed class StopSignal : IDisposable
{
    private readonly CancellationTokenSource _source = new();
    private readonly Action? _atOnce;
    private readonly PosixSignalRegistration[] _registrations;

    /// <param name="atOnce">What is still to be done before a second Ctrl+C ends the process.</param>
    public StopSignal(Action? atOnce = null)
    {
        _atOnce = atOnce;
        _registrations =
        [
            .. ((PosixSignal[])[PosixSignal.SIGINT, PosixSignal.SIGTERM, PosixSignal.SIGHUP])
                .Select(signal => PosixSignalRegistration.Create(signal, Handle)),
        ];
    }

    public CancellationToken Token => _source.Token;

    public void Dispose()
    {
        // No handler runs any more once the registrations are gone, so none finds the source disposed.
        foreach (PosixSignalRegistration registration in _registrations)
        {
            registration.Dispose();
        }

        _source.Dispose();
    }

    private void Handle(PosixSignalContext context)
    {
        if (_source.IsCancellationRequested && context.Signal == PosixSignal.SIGINT)
        {
            _atOnce?.Invoke();
            // The live display hides the cursor; a killed process has no other chance to bring it back.
            if (!Console.IsOutputRedirected)
            {
                Console.Write("\e[?25h");
            }

            return;
        }

        context.Cancel = true;
        _source.Cancel();
    }
}
