/** One thing at a time: while it is done, only the latest wish is kept. */

const pause = (seconds) => new Promise((resolve) => setTimeout(resolve, 1000 * seconds));

/**
 * Run `work` at most once at a time, and once more if it was asked for meanwhile.
 *
 * @param {() => Promise<number>} work answers after how many seconds it wants to be run again (0: done)
 * @param {() => void} [settled] called at each start and each end
 */
export function latest(work, settled = () => {}) {
  const channel = { busy: false, asked: false, ask };
  async function ask() {
    channel.asked = true;
    if (channel.busy) return;
    channel.busy = true;
    settled();
    try {
      while (channel.asked) {
        channel.asked = false;
        const again = await work();
        if (again) {
          await pause(again);
          channel.asked = true;
        }
      }
    } finally {
      channel.busy = false;
      settled();
    }
  }
  return channel;
}

/**
 * Return a function that asks one question at a time; a question that fails is told of by who answers.
 *
 * @param {(...question: any) => Promise<any>} ask
 * @param {(reply: any, ...question: any) => void} show
 */
export function asking(ask, show) {
  let question = null;
  const channel = latest(async () => {
    const asked = question;
    const reply = await ask(...asked).catch(() => null);
    if (reply) show(reply, ...asked);
    return 0;
  });
  return (...asked) => {
    question = asked;
    channel.ask();
  };
}
