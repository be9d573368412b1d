using System.Runtime.InteropServices;

namespace Adadelta.Cli;

/// <summary>
/// Turns the first Ctrl+C (SIGINT) or SIGTERM into a cancelled token, so that the work can stop and be saved. The second one
/// is left to the system, which ends the process.
/// </summary>
internal sealed class StopSignal : IDisposable
{
    private readonly CancellationTokenSource _source = new();
    private readonly PosixSignalRegistration _interrupt;
    private readonly PosixSignalRegistration _terminate;

    public StopSignal()
    {
        _interrupt = PosixSignalRegistration.Create(PosixSignal.SIGINT, Handle);
        _terminate = PosixSignalRegistration.Create(PosixSignal.SIGTERM, Handle);
    }

    public CancellationToken Token => _source.Token;

    public void Dispose()
    {
        // No handler runs any more once the registrations are gone, so none finds the source disposed.
        _interrupt.Dispose();
        _terminate.Dispose();
        _source.Dispose();
    }

    private void Handle(PosixSignalContext context)
    {
        if (_source.IsCancellationRequested)
        {
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
