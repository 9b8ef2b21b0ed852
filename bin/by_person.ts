/**
 * Sign-ins in which a person takes part: told of the window, and free to give up by Ctrl-C.
 *
 * @module
 */
import { CONSOLE_WINDOW_HANDLE, LatchkeyError, type SignInOptions } from "../mod.ts";
import { onInterrupt, write } from "../lib/platform/program.ts";

/** What is asked for, and what ends it. */
type Request = SignInOptions & { readonly signal?: AbortSignal | undefined };

/**
 * Makes a request that may open a window.
 *
 * @param request What is asked for.
 * @param send Sends it, with what a sign-in at a console has beside.
 * @returns What `send` gives.
 * @throws {LatchkeyError} `user_canceled` after Ctrl-C.
 */
export async function byPerson<R extends Request, T>(request: R, send: (request: R) => Promise<T>): Promise<T> {
  const givenUp = new AbortController(), signals = request.signal ? [request.signal] : [];
  let interrupts: Disposable | undefined;
  try {
    return await send({
      ...request,
      parentWindowHandle: CONSOLE_WINDOW_HANDLE,
      onBeforeLaunchingUi: () => {
        write("stderr", "latchkey: sign in at the window that the device's broker opens; Ctrl-C gives up\n");
        interrupts = onInterrupt(() =>
          givenUp.abort(new LatchkeyError("user_canceled", "The sign-in was given up (Ctrl-C)"))
        );
      },
      signal: AbortSignal.any([...signals, givenUp.signal]),
    });
  } finally {
    interrupts?.[Symbol.dispose]();
  }
}
