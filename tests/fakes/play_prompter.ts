/**
 * libgcr's own mock prompter, which speaks gnome-keyring's real protocol and answers in place of a person. Run by Bun, with
 * the answers as arguments: `password:TEXT`, `cancel`, or `ignore`. It prints its bus name, then `shown` and `gone` for the
 * prompt that takes the last of them, if it stands for a while, and `left` or `none left` for each line of its standard input, with which it ends.
 */
import { dlopen, FFIType } from "bun:ffi";

/** Of gnome-keyring's own generation, and of the next. */
const LIBRARIES = ["libgcr-base-3.so.1", "libgcr-4.so.4"];

const gcr = openFirst(LIBRARIES, {
  gcr_mock_prompter_start: { args: [], returns: FFIType.cstring },
  gcr_mock_prompter_expect_password_ok: { args: [FFIType.ptr, FFIType.ptr], returns: FFIType.void },
  gcr_mock_prompter_expect_password_cancel: { args: [], returns: FFIType.void },
  gcr_mock_prompter_is_expecting: { args: [], returns: FFIType.bool },
  gcr_mock_prompter_is_prompting: { args: [], returns: FFIType.bool },
  gcr_mock_prompter_set_delay_msec: { args: [FFIType.u32], returns: FFIType.void },
});

function openFirst<const T extends Parameters<typeof dlopen>[1]>([library, ...others]: readonly string[], symbols: T) {
  try {
    return dlopen(library!, symbols).symbols;
  } catch (error) {
    if (others.length === 0) throw error;
    return openFirst(others, symbols);
  }
}

/** Longer than any test. */
const NEVER_MS = 3_600_000;

const name = gcr.gcr_mock_prompter_start();
/** C holds on to them. */
const passwords: Uint8Array[] = [];
for (const answer of process.argv.slice(2)) {
  const [, password] = /^password:(.*)$/.exec(answer) ?? [];
  if (answer === "ignore") gcr.gcr_mock_prompter_set_delay_msec(NEVER_MS);
  if (password === undefined) gcr.gcr_mock_prompter_expect_password_cancel();
  else {
    const text = new TextEncoder().encode(`${password}\0`);
    passwords.push(text);
    gcr.gcr_mock_prompter_expect_password_ok(text, null);
  }
}
process.stdout.write(`${name}\n`);
let shown = false;
setInterval(() => {
  // It is prompting a moment before it takes its answer.
  const now = gcr.gcr_mock_prompter_is_prompting() && !gcr.gcr_mock_prompter_is_expecting();
  if (now !== shown) process.stdout.write(now ? "shown\n" : "gone\n");
  shown = now;
}, 1);
for await (const _line of console) {
  process.stdout.write(gcr.gcr_mock_prompter_is_expecting() ? "left\n" : "none left\n");
}
process.exit();
