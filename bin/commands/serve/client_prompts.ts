/**
 * Prompts that requests of clients open. A client can repeat a request as often as it likes, and opens no more windows thereby.
 *
 * @module
 */
import { PauseAfterFailure, untilAborted } from "../../../lib/async.ts";
import { isInteractionRequired, LatchkeyError } from "../../../lib/errors.ts";
import type { AcquireTokenRequest } from "../../../lib/request.ts";
import type { AuthenticationResult } from "../../../lib/token.ts";

/** Time in milliseconds after a prompt without a sign-in, in which no other one opens. */
export const PROMPT_PAUSE_MS = 600_000;

interface ClientPromptsOptions {
  /** Acquires a token without a prompt. */
  readonly silently: (request: AcquireTokenRequest) => Promise<AuthenticationResult>;
  /** Acquires a token, with a prompt if one is needed. Calls the request's `onBeforeLaunchingUi` before the prompt opens. */
  readonly withPrompt: (request: AcquireTokenRequest) => Promise<AuthenticationResult>;
  /** Returns the time in milliseconds since 1970. @default `Date.now` */
  readonly now?: (() => number) | undefined;
}

/**
 * Acquires tokens for clients, with one prompt at a time. A prompt stays open for the user if its client gives up; requests that
 * come meanwhile wait for it. After a prompt without a sign-in there is none for ten minutes.
 */
export class ClientPrompts {
  readonly #options: ClientPromptsOptions;
  readonly #pause: PauseAfterFailure;
  readonly #closing = new AbortController();
  #open: Promise<AuthenticationResult> | undefined;

  constructor(options: ClientPromptsOptions) {
    this.#options = options;
    this.#pause = new PauseAfterFailure({ pauseMs: PROMPT_PAUSE_MS, now: options.now });
  }

  /**
   * Acquires a token.
   *
   * @throws {LatchkeyError} the silent refusal's code during the pause; as the application otherwise.
   */
  async acquire(request: AcquireTokenRequest): Promise<AuthenticationResult> {
    for (;;) {
      let refusal: LatchkeyError;
      try {
        return await this.#options.silently(request);
      } catch (error) {
        if (!(error instanceof LatchkeyError) || !isPromptHelpful(error)) throw error;
        refusal = error;
      }
      if (!this.#open) {
        const leftMs = await this.#pause.leftMs();
        if (leftMs > 0) throw paused(refusal, leftMs);
      }
      if (!this.#open) return await untilAborted(this.#openPrompt(request), request.signal);
      // Its sign-in may be enough for this request as well.
      await untilAborted(this.#open.then(() => {}, () => {}), request.signal);
    }
  }

  /** Ends an open prompt. */
  close(): void {
    this.#closing.abort(new LatchkeyError("user_canceled", "latchkey serve is ending"));
  }

  #openPrompt(request: AcquireTokenRequest): Promise<AuthenticationResult> {
    let isShown = false;
    const onBeforeLaunchingUi = () => {
      isShown = true;
    };
    const { signal } = this.#closing;
    const work = () => this.#options.withPrompt({ ...request, signal, onBeforeLaunchingUi });
    const prompt = this.#pause.call(work, (outcome) => isShown && "error" in outcome).finally(() => {
      this.#open = undefined;
    });
    this.#open = prompt;
    prompt.catch(() => {}); // its client may have given up
    return prompt;
  }
}

/**
 * Returns true if a prompt can give what a silent request was refused; in the browser also if the cause is a broker that cannot
 * start. A prompt that was canceled or timed out is not followed by another one, unlike a command's `isSignInNeeded`.
 */
function isPromptHelpful(error: LatchkeyError): boolean {
  return isInteractionRequired(error) || isInteractionRequired(error.cause);
}

function paused(refusal: LatchkeyError, leftMs: number): LatchkeyError {
  const { code, error, subError, correlationId } = refusal;
  return new LatchkeyError(
    code,
    "A sign-in is required, and no prompt opens, since the last one ended without a sign-in",
    {
      ...{ error, subError, correlationId },
      remedy: {
        kind: "sign_in",
        when: "Where latchkey serve runs",
        or: { kind: "try_again", afterSeconds: Math.ceil(leftMs / 60_000) * 60 },
      },
    },
  );
}
