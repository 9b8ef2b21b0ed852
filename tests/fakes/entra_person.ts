// A person whose browser signs in at the fake of Microsoft Entra ID, and comes back to the program.
import { type BrowsingPerson, browsingPerson } from "../tools/browsing_person.ts";
import type { Landing } from "../tools/scripted_browser.ts";
import type { FakeEntra } from "./fake_entra.ts";

/** What the browser brings back from an address. */
export function entraLanding(entra: FakeEntra, address: string): Landing {
  const { searchParams } = new URL(address), { origin, pathname } = new URL(searchParams.get("redirect_uri")!);
  return {
    url: origin + pathname,
    method: searchParams.get("response_mode") === "form_post" ? "POST" : "GET",
    parameters: entra.authorize(address),
  };
}

/** Somebody who signs in, or whom the server refuses with these parameters. */
export function entraPerson(entra: FakeEntra, refusal?: Readonly<Record<string, string>>): BrowsingPerson {
  const signIn = (address: string): Landing => {
    const landing = entraLanding(entra, address), state = landing.parameters.get("state")!;
    return { ...landing, ...(refusal && { parameters: new URLSearchParams({ ...refusal, state }) }) };
  };
  return browsingPerson({ signIn });
}
