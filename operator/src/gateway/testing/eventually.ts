/** Test only: waits for a condition, never for a time. Rejects with `what` when it does not come. */
export async function eventually(what: string, holds: () => boolean | Promise<boolean>, ms = 240_000): Promise<void> {
  const end = Date.now() + ms;
  for (let pause = 5; !(await holds()); pause = Math.min(pause * 1.3, 40)) {
    if (Date.now() > end) throw new Error(`it did not come to be: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, pause));
  }
}
