/**
 * Windows' own broker, from WSL: each request is a program of Windows' that is run, its answer what it prints.
 *
 * Deno needs `--allow-sys=osRelease` and `--allow-run=/usr/bin/wslinfo,PROXY`, PROXY being what
 * `/usr/bin/wslinfo --msal-proxy-path` prints.
 *
 * @module
 */
import { LatchkeyError } from "../errors.ts";
import type { Logger } from "../logger.ts";
import { findWslProxy, WSL_HINTS } from "../platform/wsl_program.ts";
import { brokerPluginUri } from "../redirect_uris.ts";
import type { WindowHandle } from "../window_handle.ts";
import type { Broker } from "./broker.ts";
import { jsonBroker, type JsonBrokerOptions, type JsonTransport } from "./json_broker.ts";
import { askWslProxy, pingWslProxy } from "./wsl_proxy.ts";

const PROTOCOL_VERSION = "0.0";
/** How long a message may take that nobody waits for: Windows takes seconds to start a program now and then. */
const CANCEL_MS = 10_000;

/**
 * Finds the broker, and makes sure that it can be reached.
 *
 * @param options What it is asked with.
 * @param signal Gives the start up, with its reason.
 * @returns The broker.
 * @throws {LatchkeyError} `broker_unavailable` when it cannot be reached; `missing_dependency` when Deno may not run what it
 * takes.
 */
export async function startWslBroker(options: JsonBrokerOptions, signal?: AbortSignal): Promise<Broker> {
  const { log, timeLimits: { startMs } } = options;
  try {
    const path = await findWslProxy(signal);
    await pingWslProxy(path, { timeoutMs: startMs, signal, log });
    // Windows' broker has no version of its own: it is asked for none.
    return { ...jsonBroker(wslTransport(path, log), options), version: () => Promise.resolve(undefined) };
  } catch (error) {
    signal?.throwIfAborted();
    throw asUnavailable(error);
  }
}

function asUnavailable(error: unknown): unknown {
  if (!(error instanceof LatchkeyError) || error.code === "missing_dependency") return error;
  const hint = error.code === "broker_unavailable" ? error.hint : WSL_HINTS.restart;
  return new LatchkeyError("broker_unavailable", `Cannot reach Windows' broker: ${error.message}`, { hint });
}

function wslTransport(path: string, log: Logger): JsonTransport {
  const closing = new AbortController();
  return {
    kind: "wsl",
    isOverheard: true,
    cancelMs: CANCEL_MS,
    parentWindow: windowOfWindows,
    async send(method, json, { correlationId, timeoutMs, signal }): Promise<string> {
      const request = { method, version: PROTOCOL_VERSION, correlationId, json };
      // That a window is to be closed is told even when nobody waits any more; it takes no longer than its time limit.
      const isLast = method === "cancelInteractiveFlow";
      const end = AbortSignal.any([...(isLast ? [] : [closing.signal]), ...(signal ? [signal] : [])]);
      try {
        return await askWslProxy(path, request, { timeoutMs, signal: end, log });
      } catch (error) {
        signal?.throwIfAborted();
        throw ofCall(error, method, correlationId);
      }
    },
    // Never sent: it is what Microsoft Entra ID holds the app to when Windows' broker asks.
    redirectUri: brokerPluginUri,
    // Windows starts its broker for each request, so none comes or goes.
    watch: () => Promise.resolve({ [Symbol.dispose]: () => {} }),
    close: () => closing.abort(new LatchkeyError("broker_unavailable", "the connection to it was closed")),
  };
}

/** A window of X11 or Wayland means nothing to Windows; a number may be a HWND that the app was given. */
function windowOfWindows(handle: WindowHandle | undefined): WindowHandle | undefined {
  return typeof handle === "number" || typeof handle === "bigint" ? handle : undefined;
}

function ofCall(error: unknown, method: string, correlationId: string): unknown {
  if (!(error instanceof LatchkeyError)) return error;
  const { code, message } = error, isGone = code === "broker_unavailable";
  const hint = code === "timed_out" ? `${WSL_HINTS.restart}; latchkey doctor looks for the cause` : error.hint;
  return new LatchkeyError(code, isGone ? `Windows' broker cannot be asked for ${method}: ${message}` : message, {
    correlationId,
    hint,
  });
}
